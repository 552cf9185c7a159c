#include "guest/monitor/expression.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/safe_text.hpp"

namespace cbit::guest {
namespace {

constexpr unsigned depth_max = 64;  // of parentheses and signs

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

class Parser {
 public:
  Parser(std::string_view text, const RegisterLookup& lookup) : rest_{text}, lookup_{lookup} {}

  OrError<std::uint64_t> all() {
    skip_blanks();
    const std::uint64_t value = CBIT_TRY(sum());
    if (!rest_.empty())
      return usage_error(fmt::format("\"{}\" does not belong to an address", safe_line(rest_)));
    return value;
  }

 private:
  using Level = OrError<std::uint64_t> (Parser::*)();

  void skip_blanks() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
  }
  void next() {
    rest_.remove_prefix(1);
    skip_blanks();
  }
  [[nodiscard]] char front() const { return rest_.empty() ? '\0' : rest_.front(); }

  OrError<std::uint64_t> sum() { return chain("+-", &Parser::logic); }
  OrError<std::uint64_t> logic() { return chain("&|^", &Parser::product); }
  OrError<std::uint64_t> product() { return chain("*/%", &Parser::unary); }

  OrError<std::uint64_t> chain(std::string_view operators, Level operand) {
    std::uint64_t value = CBIT_TRY((this->*operand)());
    while (!rest_.empty() && operators.find(front()) != operators.npos) {
      const char sign = front();
      next();
      const std::uint64_t right = CBIT_TRY((this->*operand)());
      value = CBIT_TRY(apply(sign, value, right));
    }
    return value;
  }

  static OrError<std::uint64_t> apply(char sign, std::uint64_t left, std::uint64_t right) {
    if (right == 0 && (sign == '/' || sign == '%')) return usage_error("division by zero");
    switch (sign) {
      case '+': return left + right;
      case '-': return left - right;
      case '&': return left & right;
      case '|': return left | right;
      case '^': return left ^ right;
      case '*': return left * right;
      case '/': return left / right;
      default: return left % right;
    }
  }

  OrError<std::uint64_t> unary() {
    if (++depth_ > depth_max) return usage_error("an address that is nested too deeply");
    const auto value = primary();
    --depth_;
    return value;
  }

  OrError<std::uint64_t> primary() {
    switch (front()) {
      case '+': next(); return unary();
      case '-': next(); return 0 - CBIT_TRY(unary());
      case '~': next(); return ~CBIT_TRY(unary());
      case '(': return parentheses();
      case '\'': return character();
      case '$': return a_register();
      case '\0':
        if (rest_.empty()) return usage_error("an address is missing");
        return number();
      default: return number();
    }
  }

  OrError<std::uint64_t> parentheses() {
    next();
    const std::uint64_t value = CBIT_TRY(sum());
    if (front() != ')') return usage_error("\")\" is missing");
    next();
    return value;
  }

  OrError<std::uint64_t> character() {
    if (rest_.size() < 3 || rest_[2] != '\'') return usage_error("a character between quotes is missing");
    const std::uint64_t value = static_cast<unsigned char>(rest_[1]);
    rest_.remove_prefix(2);
    next();
    return value;
  }

  std::string_view word() {
    std::size_t length = 0;
    while (length < rest_.size() && is_word(rest_[length])) ++length;
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    skip_blanks();
    return taken;
  }

  OrError<std::uint64_t> a_register() {
    rest_.remove_prefix(1);
    const std::string_view name = word();
    if (const auto value = lookup_(name)) return *value;
    return usage_error(
        fmt::format("there is no register \"${}\"", name),
        "there are $rax to $r15, $rip, $rflags, $cs to $gs with .base and .limit, $cr0 to $cr8, "
        "$efer");
  }

  OrError<std::uint64_t> number() {
    const std::string_view text = word();
    if (text.empty()) return usage_error(fmt::format("\"{}\" is no address", safe_line(rest_)));
    std::string_view digits = text;
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
      base = 16;
      digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits.front() == '0') {
      base = 8;
    }
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error == std::errc::result_out_of_range)
      return usage_error(fmt::format("{} has more than 64 bits", text));
    if (error != std::errc{} || end != digits.data() + digits.size())
      return usage_error(fmt::format("\"{}\" is no address", text), "a register is $rip, a number 0x1000");
    return value;
  }

  std::string_view rest_;
  const RegisterLookup& lookup_;
  unsigned depth_ = 0;
};

}  // namespace

OrError<std::uint64_t> evaluate(std::string_view text, const RegisterLookup& lookup) {
  return Parser{text, lookup}.all();
}

}  // namespace cbit::guest
