# Slirp::Slirp, user-mode networking. Not by pkg-config: slirp.pc requires glib's, whose package that of
# libslirp does not bring, and whose headers nothing here needs.
find_path(CBIT_SLIRP_INCLUDE slirp/libslirp.h REQUIRED)
find_library(CBIT_SLIRP_LIBRARY slirp REQUIRED)
mark_as_advanced(CBIT_SLIRP_INCLUDE CBIT_SLIRP_LIBRARY)
add_library(Slirp::Slirp UNKNOWN IMPORTED)
set_target_properties(Slirp::Slirp PROPERTIES IMPORTED_LOCATION ${CBIT_SLIRP_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${CBIT_SLIRP_INCLUDE})
