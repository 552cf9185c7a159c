// Text from outside on its way to a terminal, a report or a page: files, logs, names, XML, what a program
// printed.
//
// What a terminal would obey or a reader would not see is shown instead of sent: control characters (C0, C1
// in both their forms, DEL), what changes the direction of writing, what is invisible, and bytes that are no
// UTF-8. They become \n, \t, \r, \x1b for a byte and \u202e for a character. All else stays as it is. Linear
// time.
//
// Unicode 15: Cc, Cf, Zl and Zp; UTF-8 by RFC 3629.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cbit {

// A field of one line: line feeds and tabs are shown, too.
[[nodiscard]] std::string safe_line(std::string_view text);
// Several lines: line feeds and tabs stay.
[[nodiscard]] std::string safe_text(std::string_view text);
// What safe_text() would leave as it is. A stream of text may be cut anywhere: see whole_characters().
[[nodiscard]] bool is_safe_text(std::string_view text);
// The length of the text without the beginning of a character at its end, of at most three bytes.
[[nodiscard]] std::size_t whole_characters(std::string_view text);

// safe_text() within HTML, in an element or an attribute's quotes.
[[nodiscard]] std::string html_text(std::string_view text);
// safe_line() within a line or a table's cell of Markdown.
[[nodiscard]] std::string markdown_text(std::string_view text);

// JSON that is ASCII: what is no UTF-8 is replaced, and no control character leaves its escape. `Json` is
// nlohmann's, which a header does not include.
template <class Json>
[[nodiscard]] std::string json_text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', true, Json::error_handler_t::replace);
}

}  // namespace cbit
