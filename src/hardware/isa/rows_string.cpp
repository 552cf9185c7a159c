// String instructions, of memory and of ports. APM vol. 3, chapter 3, and 1.2.6 (repeat prefixes).
//
// All are helpers, which do as many turns as a page allows. imm of each: StringParameters.
#include "isa/builder.hpp"
#include "isa/parameters.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

template <Helper helper, unsigned bytes>
void lower_string(Builder& b, const Instruction& i) {
  b.call(helper,
         StringParameters{
             .bytes = bytes, .address_bytes = i.address_bytes, .repeat = i.repeat, .segment = i.segment}
             .packed());
}

template <Helper helper, unsigned bytes>
constexpr Row string_row(std::string_view mnemonic, Rule rules = Rule::none) {
  return row(mnemonic, lower_string<helper, bytes>).as(Form::general).under(rules).tried(Trial::repeat);
}
template <Helper helper, unsigned bytes>
constexpr Row port_row(std::string_view mnemonic) {
  return row(mnemonic, lower_string<helper, bytes>).exits(0x7b);
}

constexpr Row rows[] = {
    string_row<Helper::move_string, 1>("movsb"),
    string_row<Helper::move_string, 2>("movsw"),
    string_row<Helper::move_string, 4>("movsd"),
    string_row<Helper::move_string, 8>("movsq", Rule::only_64),
    string_row<Helper::store_string, 1>("stosb"),
    string_row<Helper::store_string, 2>("stosw"),
    string_row<Helper::store_string, 4>("stosd"),
    string_row<Helper::store_string, 8>("stosq", Rule::only_64),
    string_row<Helper::load_string, 1>("lodsb"),
    string_row<Helper::load_string, 2>("lodsw"),
    string_row<Helper::load_string, 4>("lodsd"),
    string_row<Helper::load_string, 8>("lodsq", Rule::only_64),
    string_row<Helper::compare_string, 1>("cmpsb"),
    string_row<Helper::compare_string, 2>("cmpsw"),
    string_row<Helper::compare_string, 4>("cmpsd"),
    string_row<Helper::compare_string, 8>("cmpsq", Rule::only_64),
    string_row<Helper::scan_string, 1>("scasb"),
    string_row<Helper::scan_string, 2>("scasw"),
    string_row<Helper::scan_string, 4>("scasd"),
    string_row<Helper::scan_string, 8>("scasq", Rule::only_64),
    port_row<Helper::input_string, 1>("insb"),
    port_row<Helper::input_string, 2>("insw"),
    port_row<Helper::input_string, 4>("insd"),
    port_row<Helper::output_string, 1>("outsb"),
    port_row<Helper::output_string, 2>("outsw"),
    port_row<Helper::output_string, 4>("outsd"),
};

}  // namespace

std::span<const Row> string_rows() { return rows; }

}  // namespace cbit::isa
