// Launching a guest, and looking into one. SEV API, 6.2 to 6.6 and 7.
#include "machine/sev/sev_firmware.hpp"

namespace cbit::machine {

spec::SevStatusCode SevFirmware::launch_start(LaunchStart& request) {
  return command("LAUNCH_START", request.handle, [&]() -> Done {
    if (state_ == spec::SevPlatformState::uninit)
      return spec::refused(spec::SevStatusCode::invalid_platform_state);
    Guest guest{.policy = request.policy, .state = spec::SevGuestState::launching};
    if (!request.dh_cert.empty()) {
      if (request.session.size() != sizeof(spec::SevSession) ||
          request.dh_cert.size() != sizeof(spec::SevCertificate))
        return spec::refused(spec::SevStatusCode::invalid_length);
      guest.transport = CBIT_TRY(accept_session(pdh_, load<spec::SevCertificate>(request.dh_cert),
                                                request.policy, load<spec::SevSession>(request.session)));
      CBIT_TRY(check_version(request.policy));
    }
    guest.key = CBIT_TRY(key_for(request.handle, request.policy));
    CBIT_TRY(check_es(request.policy));
    guest.launch_digest = std::make_unique<crypt::Sha256>();
    request.handle = CBIT_TRY(admit(std::move(guest)));
    return {};
  });
}

spec::SevStatusCode SevFirmware::launch_update_data(std::uint32_t handle, PtePhys address,
                                                    std::uint32_t len) {
  return command("LAUNCH_UPDATE_DATA", handle, [&] { return launch_update(handle, address, len, false); });
}

// The length is checked before anything else.
spec::SevStatusCode SevFirmware::launch_update_vmsa(std::uint32_t handle, PtePhys address,
                                                    std::uint32_t len) {
  return command("LAUNCH_UPDATE_VMSA", handle, [&]() -> Done {
    if (len != page_size) return spec::refused(spec::SevStatusCode::invalid_length);
    return launch_update(handle, address, len, true);
  });
}

// Measures what the host wrote and encrypts it in place.
SevFirmware::Done SevFirmware::launch_update(std::uint32_t handle, PtePhys address, std::uint32_t len,
                                             bool vmsa) {
  const Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::launching));
  if (vmsa && !guest->policy.get<spec::SevPolicy::Es>())
    return spec::refused(spec::SevStatusCode::unsupported);
  if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
  if (!phys(address).is_aligned(crypt::cipher_block_size))
    return spec::refused(spec::SevStatusCode::invalid_address);
  if (len == 0 || len % crypt::cipher_block_size != 0)
    return spec::refused(spec::SevStatusCode::invalid_length);
  CBIT_TRY(check_writable(address, len, mem::guest_key(guest->asid)));
  const Bytes data = read_host(address, len);
  guest->launch_digest->update(data);
  write_guest(*guest, address, data);
  return {};
}

spec::SevStatusCode SevFirmware::launch_measure(std::uint32_t handle, std::uint32_t& len,
                                                spec::SevMeasurement& measurement) {
  return command("LAUNCH_MEASURE", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::launching));
    if (len < sizeof(spec::SevMeasurement)) {
      len = sizeof(spec::SevMeasurement);
      return spec::refused(spec::SevStatusCode::invalid_length);
    }
    const crypt::Sha256Digest digest = guest->launch_digest->finish();
    measurement.nonce = random();
    measurement.measure = machine::launch_measure(guest->transport.integrity, spec::SevVersion{},
                                                  guest->policy, digest, measurement.nonce);
    guest->measure = measurement.measure;
    guest->state = spec::SevGuestState::secret;
    return {};
  });
}

spec::SevStatusCode SevFirmware::launch_secret(std::uint32_t handle, const Packet& packet) {
  return command("LAUNCH_SECRET", handle, [&] { return put_secret(handle, packet); });
}

SevFirmware::Done SevFirmware::put_secret(std::uint32_t handle, const Packet& packet) {
  CBIT_TRY(find(handle));
  if (!phys(packet.guest_address).is_aligned(crypt::cipher_block_size))
    return spec::refused(spec::SevStatusCode::invalid_address);
  if (packet.header.size() != sizeof(spec::SevPacketHeader) || packet.guest_len == 0 ||
      packet.guest_len % crypt::cipher_block_size != 0 || packet.guest_len > spec::sev_packet_bytes_max ||
      packet.guest_len != packet.data.size())
    return spec::refused(spec::SevStatusCode::invalid_length);
  const Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::secret));
  if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
  CBIT_TRY(check_writable(packet.guest_address, packet.guest_len, mem::guest_key(guest->asid)));
  const Bytes secret =
      CBIT_TRY(open_packet(guest->transport, spec::SevMacContext::secret,
                           load<spec::SevPacketHeader>(packet.header), packet.data, guest->measure));
  write_guest(*guest, packet.guest_address, secret);
  return {};
}

spec::SevStatusCode SevFirmware::launch_finish(std::uint32_t handle) {
  return command("LAUNCH_FINISH", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::secret));
    guest->transport = {};
    guest->launch_digest.reset();
    guest->state = spec::SevGuestState::running;
    start_running(*guest);
    return {};
  });
}

// ---- debugging ------------------------------------------------------------------------------------------

Result<SevFirmware::Guest*, spec::SevStatusCode> SevFirmware::check_debug(std::uint32_t handle,
                                                                          PtePhys source, PtePhys target,
                                                                          std::uint32_t len) {
  CBIT_TRY(check_working());
  if (!phys(source).is_aligned(crypt::cipher_block_size) ||
      !phys(target).is_aligned(crypt::cipher_block_size))
    return spec::refused(spec::SevStatusCode::invalid_address);
  if (len % crypt::cipher_block_size != 0) return spec::refused(spec::SevStatusCode::invalid_length);
  Guest* const guest = CBIT_TRY(find(handle));
  if (guest->policy.get<spec::SevPolicy::NoDebug>())
    return spec::refused(spec::SevStatusCode::policy_failure);
  if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
  CBIT_TRY(check_range(source, len));
  return guest;
}

spec::SevStatusCode SevFirmware::dbg_decrypt(std::uint32_t handle, PtePhys source, PtePhys target,
                                             std::uint32_t len) {
  return command("DBG_DECRYPT", handle, [&]() -> Done {
    const Guest* const guest = CBIT_TRY(check_debug(handle, source, target, len));
    CBIT_TRY(check_writable(target, len, host_key_of(target)));
    write_host(target, read_guest(*guest, source, len));
    return {};
  });
}

spec::SevStatusCode SevFirmware::dbg_encrypt(std::uint32_t handle, PtePhys source, PtePhys target,
                                             std::uint32_t len) {
  return command("DBG_ENCRYPT", handle, [&]() -> Done {
    const Guest* const guest = CBIT_TRY(check_debug(handle, source, target, len));
    CBIT_TRY(check_writable(target, len, mem::guest_key(guest->asid)));
    write_guest(*guest, target, read_host(source, len));
    return {};
  });
}

}  // namespace cbit::machine
