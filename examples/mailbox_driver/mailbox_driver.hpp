// A small driver for a mailbox device: the device fetches a command from memory and puts its reply there.
//
// Two versions. The first hands physical addresses to the hardware, as drivers did when memory was plain: it
// works on every machine without memory encryption. The second uses the DMA API and works everywhere.
#pragma once

#include <cbit/sandbox.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

using Bytes = std::vector<std::byte>;

// What the driver tells the hardware: where the command is and where the reply goes.
struct Doorbell {
  cbit::DmaAddr command;
  std::size_t command_bytes = 0;
  cbit::DmaAddr reply;
  std::size_t reply_bytes = 0;
};

class NaiveMailboxDriver {
 public:
  NaiveMailboxDriver(cbit::Sandbox& kernel, cbit::Sandbox::DeviceId) : kernel_{kernel} {}

  std::optional<Doorbell> submit(std::span<const std::byte> command, std::size_t reply_bytes) {
    command_ = kernel_.kmalloc(command.size());
    reply_ = kernel_.kmalloc(reply_bytes);
    reply_bytes_ = reply_bytes;
    kernel_.write(command_, command);
    return Doorbell{cbit::DmaAddr{kernel_.virt_to_phys(command_).value()}, command.size(),
                    cbit::DmaAddr{kernel_.virt_to_phys(reply_).value()}, reply_bytes};
  }

  Bytes complete() {
    Bytes reply = kernel_.read(reply_, reply_bytes_);
    kernel_.kfree(command_);
    kernel_.kfree(reply_);
    return reply;
  }

 private:
  cbit::Sandbox& kernel_;
  cbit::VirtAddr command_, reply_;
  std::size_t reply_bytes_ = 0;
};

class MailboxDriver {
 public:
  MailboxDriver(cbit::Sandbox& kernel, cbit::Sandbox::DeviceId device) : kernel_{kernel}, device_{device} {}

  // nullopt: the DMA API has no mapping to give; nothing is left mapped or allocated.
  std::optional<Doorbell> submit(std::span<const std::byte> command, std::size_t reply_bytes) {
    command_ = kernel_.kmalloc(command.size());
    reply_ = kernel_.kmalloc(reply_bytes);
    kernel_.write(command_, command);
    doorbell_.command =
        kernel_.dma_map_single(device_, command_, command.size(), cbit::DmaDirection::to_device);
    if (kernel_.dma_mapping_failed(device_, doorbell_.command)) {
      free_buffers();
      return std::nullopt;
    }
    doorbell_.command_bytes = command.size();
    doorbell_.reply = kernel_.dma_map_single(device_, reply_, reply_bytes, cbit::DmaDirection::from_device);
    if (kernel_.dma_mapping_failed(device_, doorbell_.reply)) {
      unmap_command();
      free_buffers();
      return std::nullopt;
    }
    doorbell_.reply_bytes = reply_bytes;
    return doorbell_;
  }

  Bytes complete() {
    unmap_command();
    kernel_.dma_unmap_single(device_, doorbell_.reply, doorbell_.reply_bytes,
                             cbit::DmaDirection::from_device);
    Bytes reply = kernel_.read(reply_, doorbell_.reply_bytes);
    free_buffers();
    return reply;
  }

 private:
  void unmap_command() {
    kernel_.dma_unmap_single(device_, doorbell_.command, doorbell_.command_bytes,
                             cbit::DmaDirection::to_device);
  }
  void free_buffers() {
    kernel_.kfree(command_);
    kernel_.kfree(reply_);
  }

  cbit::Sandbox& kernel_;
  cbit::Sandbox::DeviceId device_;
  cbit::VirtAddr command_, reply_;
  Doorbell doorbell_;
};
