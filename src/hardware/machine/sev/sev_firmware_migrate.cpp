// Sending a guest to another machine and receiving it: pages go from the guest's key to a transport key that
// the two firmwares agree on, and there to a new guest's key. SEV API, 6.8 to 6.16.
#include "machine/sev/sev_firmware.hpp"

namespace cbit::machine {
namespace {

spec::SevMacContext mac_context(bool vmsa) {
  return vmsa ? spec::SevMacContext::vmsa : spec::SevMacContext::data;
}

}  // namespace

spec::SevStatusCode SevFirmware::send_start(std::uint32_t handle, SendStart& request) {
  return command("SEND_START", handle, [&] { return start_sending(handle, request); });
}

SevFirmware::Done SevFirmware::start_sending(std::uint32_t handle, SendStart& request) {
  CBIT_TRY(find(handle));
  if (request.session_len != sizeof(spec::SevSession)) {
    request.session_len = sizeof(spec::SevSession);
    return spec::refused(spec::SevStatusCode::invalid_length);
  }
  Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::running));
  if (guest->policy.get<spec::SevPolicy::NoSend>()) return spec::refused(spec::SevStatusCode::policy_failure);
  if (request.pdh_cert.size() != sizeof(spec::SevCertificate))
    return spec::refused(spec::SevStatusCode::invalid_length);
  if (guest->policy.get<spec::SevPolicy::Sev>() || guest->policy.get<spec::SevPolicy::Domain>())
    return spec::refused(spec::SevStatusCode::invalid_certificate);
  const SevSessionRandom fresh{.keys = {random(), random()}, .nonce = random(), .iv = random()};
  request.session =
      CBIT_TRY(open_session(pdh_, load<spec::SevCertificate>(request.pdh_cert), guest->policy, fresh));
  request.policy = guest->policy;
  guest->transport = fresh.keys;
  guest->state = spec::SevGuestState::sending;
  return {};
}

spec::SevStatusCode SevFirmware::send_update_data(std::uint32_t handle, SendUpdate& request) {
  return command("SEND_UPDATE_DATA", handle, [&] { return send_update(handle, request, false); });
}

spec::SevStatusCode SevFirmware::send_update_vmsa(std::uint32_t handle, SendUpdate& request) {
  return command("SEND_UPDATE_VMSA", handle, [&] { return send_update(handle, request, true); });
}

SevFirmware::Done SevFirmware::send_update(std::uint32_t handle, SendUpdate& request, bool vmsa) {
  CBIT_TRY(check_working());
  if (request.hdr_len < sizeof(spec::SevPacketHeader)) {
    request.hdr_len = sizeof(spec::SevPacketHeader);
    return spec::refused(spec::SevStatusCode::invalid_length);
  }
  const Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::sending));
  if (vmsa && !guest->policy.get<spec::SevPolicy::Es>())
    return spec::refused(spec::SevStatusCode::unsupported);
  if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
  if (request.guest_len == 0 || request.guest_len > spec::sev_packet_bytes_max ||
      request.guest_len % crypt::cipher_block_size != 0 || request.trans_len < request.guest_len)
    return spec::refused(spec::SevStatusCode::invalid_length);
  if (!phys(request.guest_address).is_aligned(crypt::cipher_block_size))
    return spec::refused(spec::SevStatusCode::invalid_address);
  CBIT_TRY(check_range(request.guest_address, request.guest_len));
  const Bytes plain = read_guest(*guest, request.guest_address, request.guest_len);
  request.packet = seal_packet(guest->transport, mac_context(vmsa), random(), plain);
  request.hdr_len = sizeof(spec::SevPacketHeader);
  return {};
}

spec::SevStatusCode SevFirmware::send_finish(std::uint32_t handle) {
  return command("SEND_FINISH", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::sending));
    guest->transport = {};
    guest->state = spec::SevGuestState::sent;
    return {};
  });
}

spec::SevStatusCode SevFirmware::send_cancel(std::uint32_t handle) {
  return command("SEND_CANCEL", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::sending));
    guest->transport = {};
    guest->state = spec::SevGuestState::running;
    return {};
  });
}

spec::SevStatusCode SevFirmware::receive_start(ReceiveStart& request) {
  return command("RECEIVE_START", request.handle, [&] { return start_receiving(request); });
}

SevFirmware::Done SevFirmware::start_receiving(ReceiveStart& request) {
  if (state_ == spec::SevPlatformState::uninit)
    return spec::refused(spec::SevStatusCode::invalid_platform_state);
  if (request.session.size() != sizeof(spec::SevSession) ||
      request.pdh_cert.size() != sizeof(spec::SevCertificate))
    return spec::refused(spec::SevStatusCode::invalid_length);
  Guest guest{.policy = request.policy, .state = spec::SevGuestState::receiving};
  guest.transport = CBIT_TRY(accept_session(pdh_, load<spec::SevCertificate>(request.pdh_cert),
                                            request.policy, load<spec::SevSession>(request.session)));
  CBIT_TRY(check_version(request.policy));
  guest.key = CBIT_TRY(key_for(request.handle, request.policy));
  CBIT_TRY(check_es(request.policy));
  request.handle = CBIT_TRY(admit(std::move(guest)));
  return {};
}

spec::SevStatusCode SevFirmware::receive_update_data(std::uint32_t handle, const Packet& packet) {
  return command("RECEIVE_UPDATE_DATA", handle, [&] { return receive_update(handle, packet, false); });
}

spec::SevStatusCode SevFirmware::receive_update_vmsa(std::uint32_t handle, const Packet& packet) {
  return command("RECEIVE_UPDATE_VMSA", handle, [&] { return receive_update(handle, packet, true); });
}

SevFirmware::Done SevFirmware::receive_update(std::uint32_t handle, const Packet& packet, bool vmsa) {
  const Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::receiving));
  if (vmsa && !guest->policy.get<spec::SevPolicy::Es>())
    return spec::refused(spec::SevStatusCode::unsupported);
  if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
  if (packet.data.empty() || packet.data.size() > spec::sev_packet_bytes_max ||
      packet.guest_len != packet.data.size() || packet.guest_len % crypt::cipher_block_size != 0 ||
      packet.header.size() < sizeof(spec::SevPacketHeader))
    return spec::refused(spec::SevStatusCode::invalid_length);
  if (!phys(packet.guest_address).is_aligned(crypt::cipher_block_size))
    return spec::refused(spec::SevStatusCode::invalid_address);
  CBIT_TRY(check_writable(packet.guest_address, packet.guest_len, mem::guest_key(guest->asid)));
  const auto header = load<spec::SevPacketHeader>(packet.header);
  if (header.flags.get<spec::SevPacketHeader::Flags::Compressed>())
    return spec::refused(spec::SevStatusCode::unsupported);
  const Bytes plain = CBIT_TRY(open_packet(guest->transport, mac_context(vmsa), header, packet.data));
  write_guest(*guest, packet.guest_address, plain);
  return {};
}

spec::SevStatusCode SevFirmware::receive_finish(std::uint32_t handle) {
  return command("RECEIVE_FINISH", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle, spec::SevGuestState::receiving));
    guest->transport = {};
    guest->state = spec::SevGuestState::running;
    start_running(*guest);
    return {};
  });
}

}  // namespace cbit::machine
