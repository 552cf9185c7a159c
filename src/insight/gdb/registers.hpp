// A processor's registers as a debugger numbers and sizes them, and what tells it so: target.xml.
//
// Features and types: GDB's manual, "i386 Features". The system's registers have the names that QEMU gives
// them (gdb-xml/i386-64bit.xml), in a feature of ours. Sizes are those of 64-bit mode in every mode: a
// debugger cannot be told of a change. Threading: that of the machine.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "bus/interrupt_source.hpp"
#include "cpu/cpu.hpp"

namespace cbit::gdb {

struct Processor {
  cpu::Cpu* cpu = nullptr;
  bus::InterruptSource* interrupts = nullptr;
};

[[nodiscard]] const std::string& target_xml();

[[nodiscard]] std::size_t register_count();
[[nodiscard]] std::size_t register_bytes(std::size_t number);

// All of them, in order.
[[nodiscard]] Bytes read_registers(const Processor& processor);
// nullopt: there is no such register.
[[nodiscard]] std::optional<Bytes> read_register(const Processor& processor, std::size_t number);

// False: not so many bytes, or a register that does not take such a value. Selectors stay as they are, as a
// descriptor would have to be loaded with them.
bool write_registers(const Processor& processor, ConstByteSpan values);
bool write_register(const Processor& processor, std::size_t number, ConstByteSpan value);

}  // namespace cbit::gdb
