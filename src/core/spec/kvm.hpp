// What a guest of KVM may ask of it, as far as it is about encrypted memory.
//
// Sources: Linux 6.1, Documentation/virt/kvm/x86/cpuid.rst, hypercalls.rst and msr.rst;
// arch/x86/include/uapi/asm/kvm_para.h; include/uapi/linux/kvm_para.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace cbit::spec::kvm {

// CPUID Fn4000_0000: the highest leaf in EAX; the signature in EBX, ECX and EDX.
inline constexpr std::uint32_t leaf_features = 0x4000'0001;
inline constexpr std::string_view signature{"KVMKVMKVM\0\0\0", 12};
// Fn4000_0001 EAX.
inline constexpr std::uint32_t feature_hc_map_gpa_range = 1u << 16;
inline constexpr std::uint32_t feature_migration_control = 1u << 17;

inline constexpr std::uint32_t msr_migration_control = 0x4b56'4d08;
inline constexpr std::uint64_t migration_ready = 1;  // the register's only bit

// VMMCALL: number in RAX, arguments in RBX, RCX and RDX, result in RAX.
inline constexpr std::uint64_t hc_map_gpa_range = 12;  // address, number of 4 KiB pages, attributes
inline constexpr std::uint64_t map_gpa_encrypted = 1u << 4;

inline constexpr std::int64_t eperm = 1;
inline constexpr std::int64_t einval = 22;
inline constexpr std::int64_t enosys = 1000;

}  // namespace cbit::spec::kvm
