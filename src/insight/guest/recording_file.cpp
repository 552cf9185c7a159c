#include "guest/recording_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace cbit::guest {
namespace {

constexpr std::string_view recording_magic = "CBITPLAY";
constexpr unsigned bits_of_byte = 7;
constexpr unsigned bits_of_number = 64;

void put_bytes(Bytes& to, ConstByteSpan bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }
void put_sized(Bytes& to, ConstByteSpan bytes) {
  put_number(to, bytes.size());
  put_bytes(to, bytes);
}
void put_text(Bytes& to, std::string_view text) { put_sized(to, std::as_bytes(std::span{text})); }
void put_texts(Bytes& to, const std::vector<std::string>& texts) {
  put_number(to, texts.size());
  for (const std::string& text : texts) put_text(to, text);
}

Bytes bytes_of_header(const RecordingHeader& header) {
  Bytes bytes;
  put_bytes(bytes, std::as_bytes(std::span{recording_magic}));
  for (unsigned i = 0; i < sizeof recording_format; ++i)
    bytes.push_back(static_cast<std::byte>(recording_format >> (8 * i)));
  put_text(bytes, header.version);
  put_number(bytes, header.options.size());
  for (const auto& [name, value] : header.options) {
    put_text(bytes, name);
    put_text(bytes, value);
  }
  put_texts(bytes, header.positional);
  put_texts(bytes, header.command);
  put_text(bytes, header.kernel_name);
  put_bytes(bytes, header.kernel);
  put_bytes(bytes, header.initrd);
  put_number(bytes, header.disks.size());
  for (const RecordedDisk& disk : header.disks) {
    put_number(bytes, disk.bytes);
    put_number(bytes, disk.read_only ? 1 : 0);
  }
  return bytes;
}

// Takes what a file has from its front. Once something is missing, all that follows is.
class Reader {
 public:
  explicit Reader(ConstByteSpan bytes) : all_{bytes}, left_{bytes} {}

  [[nodiscard]] std::size_t place() const { return all_.size() - left_.size(); }
  [[nodiscard]] std::size_t left() const { return left_.size(); }
  [[nodiscard]] bool good() const { return good_; }

  std::uint64_t number() {
    const auto taken = good_ ? take_number(left_) : std::nullopt;
    good_ = taken.has_value();
    return taken.value_or(0);
  }
  ConstByteSpan take(std::uint64_t bytes) {
    good_ = good_ && bytes <= left_.size();
    if (!good_) return {};
    const ConstByteSpan taken = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return taken;
  }
  ConstByteSpan sized() { return take(number()); }
  std::string text() {
    const ConstByteSpan bytes = sized();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::vector<std::string> texts() {
    std::vector<std::string> texts;
    for (std::uint64_t left = number(); good_ && left != 0; --left) texts.push_back(text());
    return texts;
  }
  crypt::Sha256Digest digest() {
    crypt::Sha256Digest digest{};
    std::ranges::copy(take(digest.size()), digest.begin());
    return digest;
  }

 private:
  ConstByteSpan all_;
  ConstByteSpan left_;
  bool good_ = true;
};

RecordingHeader take_header(Reader& in) {
  RecordingHeader header;
  header.version = in.text();
  for (std::uint64_t left = in.number(); in.good() && left != 0; --left) {
    std::string name = in.text();
    header.options.emplace_back(std::move(name), in.text());
  }
  header.positional = in.texts();
  header.command = in.texts();
  header.kernel_name = in.text();
  header.kernel = in.digest();
  header.initrd = in.digest();
  for (std::uint64_t left = in.number(); in.good() && left != 0; --left) {
    const std::uint64_t bytes = in.number();
    header.disks.push_back({bytes, in.number() != 0});
  }
  return header;
}

// False: time has gone beyond its end.
bool take_record(Reader& in, std::uint64_t now_ns, Record& record) {
  const ConstByteSpan source = in.take(1);
  if (!source.empty()) record.source = std::to_integer<std::uint8_t>(source.front());
  record.question = in.number();
  const std::uint64_t passed = in.number();
  record.virtual_ns = now_ns + passed;
  record.processor = in.number();
  const ConstByteSpan answer = in.sized();
  record.answer.assign(answer.begin(), answer.end());
  return record.virtual_ns >= now_ns;
}

tl::unexpected<Error> no_recording(const std::string& name, std::string_view what) {
  return bad_input(fmt::format("{}: {}", name, what), "give a file that cbit run --record has written");
}
tl::unexpected<Error> cut_short(const std::string& name, std::size_t at, std::string_view where) {
  return no_recording(name, fmt::format("is cut short or altered: at byte {}, in {}", at, where));
}

OrError<void> check_format(Reader& in, const std::string& name) {
  const ConstByteSpan mark = in.take(recording_magic.size());
  if (!in.good() || std::memcmp(mark.data(), recording_magic.data(), recording_magic.size()) != 0)
    return no_recording(name, "is no recording of a run");
  const ConstByteSpan words = in.take(sizeof recording_format);
  if (!in.good()) return cut_short(name, in.place(), "the version of its format");
  std::uint32_t format = 0;
  for (unsigned i = 0; i < words.size(); ++i) format |= std::to_integer<std::uint32_t>(words[i]) << (8 * i);
  if (format != recording_format)
    return bad_input(fmt::format("{}: has format {}, and this is format {}", name, format, recording_format),
                     "replay it with the cbit that recorded it");
  return {};
}

}  // namespace

void put_number(Bytes& to, std::uint64_t number) {
  constexpr unsigned more = 1u << bits_of_byte;
  for (; number >= more; number >>= bits_of_byte)
    to.push_back(static_cast<std::byte>((number & (more - 1)) | more));
  to.push_back(static_cast<std::byte>(number));
}

std::optional<std::uint64_t> take_number(ConstByteSpan& from) {
  constexpr unsigned more = 1u << bits_of_byte;
  std::uint64_t number = 0;
  for (unsigned shift = 0, i = 0; i < from.size() && shift < bits_of_number; shift += bits_of_byte, ++i) {
    const auto byte = std::to_integer<std::uint64_t>(from[i]);
    number |= (byte & (more - 1)) << shift;
    if (byte >= more) continue;
    from = from.subspan(i + 1);
    return number;
  }
  return std::nullopt;
}

OrError<RecordingFile> read_recording(ConstByteSpan bytes, const std::string& name) {
  Reader in{bytes};
  CBIT_TRY(check_format(in, name));
  RecordingFile file;
  file.header = take_header(in);
  if (!in.good()) return cut_short(name, in.place(), "its header");
  std::uint64_t now_ns = 0;
  do {
    const std::size_t at = in.place();
    Record& record = file.records.emplace_back();
    if (!take_record(in, now_ns, record) || !in.good())
      return cut_short(name, at, fmt::format("record {}", file.records.size()));
    now_ns = record.virtual_ns;
  } while (file.records.back().source != record_end);
  const std::size_t end = in.place();
  const crypt::Sha256Digest sum = in.digest();
  if (!in.good()) return cut_short(name, end, "the sum of what is before it");
  if (sum != crypt::sha256(bytes.first(end)))
    return no_recording(name, fmt::format("has been altered: its first {} bytes have another sum", end));
  if (in.left() != 0)
    return no_recording(name, fmt::format("goes on behind its end, at byte {}", in.place()));
  return file;
}

RecordingWriter::RecordingWriter(std::ostream& to, const RecordingHeader& header) : to_{&to} {
  write(bytes_of_header(header));
}

void RecordingWriter::write(ConstByteSpan bytes) {
  sum_.update(bytes);
  to_->write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void RecordingWriter::add(const Record& record) {
  Bytes bytes{std::byte{record.source}};
  put_number(bytes, record.question);
  put_number(bytes, record.virtual_ns - last_ns_);
  put_number(bytes, record.processor);
  put_sized(bytes, record.answer);
  last_ns_ = record.virtual_ns;
  write(bytes);
}

void RecordingWriter::finish() {
  const crypt::Sha256Digest sum = sum_.finish();
  to_->write(reinterpret_cast<const char*>(sum.data()), static_cast<std::streamsize>(sum.size()));
}

}  // namespace cbit::guest
