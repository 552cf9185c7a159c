#include "dev/p9/server.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/random.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

OrErrno<void> check_done(const P9Reader& in) {
  if (!in.is_done()) return refused(EINVAL);
  return {};
}

Bytes error_answer(std::uint16_t tag, int number) {
  P9Writer out{p9_type::rlerror, tag};
  out.put(static_cast<std::uint32_t>(number));
  return std::move(out).finish();
}

std::uint8_t qid_type_of(mode_t mode) {
  if (S_ISDIR(mode)) return p9_qid_type::folder;
  return S_ISLNK(mode) ? p9_qid_type::link : p9_qid_type::file;
}

// IFTODT() of dirent.h.
std::uint8_t entry_type_of(mode_t mode) { return static_cast<std::uint8_t>((mode & S_IFMT) >> 12); }

void put_time(P9Writer& out, const struct timespec& time) {
  out.put(static_cast<std::uint64_t>(time.tv_sec));
  out.put(static_cast<std::uint64_t>(time.tv_nsec));
}

std::size_t bytes_of_entry(std::string_view name) { return P9Qid::bytes + 8 + 1 + 2 + name.size(); }

}  // namespace

const P9Server::Row P9Server::rows[] = {
    {p9_type::tversion, &P9Server::version},
    {p9_type::tattach, &P9Server::attach},
    {p9_type::twalk, &P9Server::walk},
    {p9_type::tlopen, &P9Server::open},
    {p9_type::tread, &P9Server::read},
    {p9_type::treaddir, &P9Server::read_folder},
    {p9_type::tgetattr, &P9Server::attributes},
    {p9_type::treadlink, &P9Server::read_link},
    {p9_type::tstatfs, &P9Server::file_system},
    {p9_type::txattrwalk, &P9Server::extended_attribute},
    {p9_type::tflush, &P9Server::flush},
    {p9_type::tfsync, &P9Server::sync},
    {p9_type::tlock, &P9Server::lock},
    {p9_type::tgetlock, &P9Server::test_lock},
    {p9_type::tclunk, &P9Server::clunk},
    {p9_type::tremove, &P9Server::remove},
    {p9_type::tlcreate, &P9Server::refuse_change},
    {p9_type::tsymlink, &P9Server::refuse_change},
    {p9_type::tmknod, &P9Server::refuse_change},
    {p9_type::trename, &P9Server::refuse_change},
    {p9_type::tsetattr, &P9Server::refuse_change},
    {p9_type::txattrcreate, &P9Server::refuse_change},
    {p9_type::tlink, &P9Server::refuse_change},
    {p9_type::tmkdir, &P9Server::refuse_change},
    {p9_type::trenameat, &P9Server::refuse_change},
    {p9_type::tunlinkat, &P9Server::refuse_change},
    {p9_type::twrite, &P9Server::refuse_change},
};

Bytes P9Server::answer(ConstByteSpan message, std::size_t room) {
  room_ = room;
  P9Reader head{message};
  const auto size = head.take<std::uint32_t>();
  const auto type = head.take<std::uint8_t>();
  const auto tag = head.take<std::uint16_t>();
  if (message.size() < p9_header_bytes) return error_answer(p9_no_tag, EINVAL);
  if (size != message.size()) return error_answer(tag, EINVAL);
  auto answer = try_answer(message.subspan(p9_header_bytes), type, tag);
  return answer ? std::move(*answer) : error_answer(tag, answer.error().value);
}

OrErrno<Bytes> P9Server::try_answer(ConstByteSpan message, std::uint8_t type, std::uint16_t tag) {
  if (type != p9_type::tversion && msize_ == 0) return refused(EINVAL);
  const Row* const row = std::ranges::find(rows, type, &Row::type);
  if (row == std::end(rows)) return refused(EOPNOTSUPP);
  P9Reader in{message};
  P9Writer out{static_cast<std::uint8_t>(type + 1), tag};
  CBIT_TRY((this->*row->handle)(in, out));
  Bytes answer = std::move(out).finish();
  if (answer.size() > room_ || (msize_ != 0 && answer.size() > msize_)) return refused(EMSGSIZE);
  return answer;
}

void P9Server::reset() {
  fids_.clear();
  msize_ = 0;
}

// ---- the connection -------------------------------------------------------------------------------------

// version(5): it begins anew, and what was open is not any more.
OrErrno<void> P9Server::version(P9Reader& in, P9Writer& out) {
  const auto msize = in.take<std::uint32_t>();
  const std::string_view version = in.take_text();
  CBIT_TRY(check_done(in));
  reset();
  if (msize < p9_msize_min) return refused(EMSGSIZE);
  const std::uint32_t agreed = std::min(msize, msize_max);
  out.put(agreed);
  out.put_text(version == p9_version ? p9_version : p9_version_unknown);
  if (version == p9_version) msize_ = agreed;
  return {};
}

OrErrno<void> P9Server::attach(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  const auto authenticated = in.take<std::uint32_t>();
  static_cast<void>(in.take_text());            // the user's name
  static_cast<void>(in.take_text());            // the tree's: there is one
  static_cast<void>(in.take<std::uint32_t>());  // the user's number
  CBIT_TRY(check_done(in));
  if (authenticated != p9_no_fid) return refused(EBADF);
  CBIT_TRY(check_free(fid));
  Fid made{CBIT_TRY(folder_->root())};
  out.put_qid(qid_of(CBIT_TRY(made.node.status())));
  fids_.emplace(fid, std::move(made));
  return {};
}

OrErrno<void> P9Server::flush(P9Reader& in, P9Writer&) {
  static_cast<void>(in.take<std::uint16_t>());  // the tag of a question that is answered by now
  return check_done(in);
}

// ---- fids -----------------------------------------------------------------------------------------------

OrErrno<P9Server::Fid*> P9Server::find(std::uint32_t fid) {
  const auto found = fids_.find(fid);
  if (found == fids_.end()) return refused(EBADF);
  return &found->second;
}

OrErrno<void> P9Server::check_free(std::uint32_t fid) const {
  if (fid == p9_no_fid || fids_.contains(fid)) return refused(EINVAL);
  if (fids_.size() >= fids_max_) return refused(EMFILE);
  return {};
}

// A file's number is its own within its file system; those of others that are mounted in the folder are kept
// apart from the folder's.
P9Qid P9Server::qid_of(const struct stat& status) const {
  const std::uint64_t others = status.st_dev == folder_->device() ? 0 : Random{status.st_dev}.next();
  return {qid_type_of(status.st_mode),
          static_cast<std::uint32_t>(status.st_mtim.tv_sec) ^
              static_cast<std::uint32_t>(status.st_mtim.tv_nsec) ^
              static_cast<std::uint32_t>(status.st_size) << 8,
          status.st_ino ^ others};
}

// walk(5): of a way of which only a part is there the answer tells that part, and the new fid is not made.
OrErrno<void> P9Server::walk(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  const auto new_fid = in.take<std::uint32_t>();
  const auto count = in.take<std::uint16_t>();
  if (count > p9_names_max) return refused(EINVAL);
  std::vector<std::string_view> names(count);
  for (std::string_view& name : names) name = in.take_text();
  CBIT_TRY(check_done(in));

  const Fid* const from = CBIT_TRY(find(fid));
  if (new_fid != fid)
    CBIT_TRY(check_free(new_fid));
  else if (from->state != Fid::State::closed)
    return refused(EINVAL);
  SharedNode at = CBIT_TRY(from->node.clone());
  std::vector<P9Qid> qids;
  for (const std::string_view name : names) {
    auto next = folder_->step(at, name);
    const auto status = next ? next->status() : OrErrno<struct stat>{refused(next.error().value)};
    if (!status && qids.empty()) return refused(status.error().value);
    if (!status) break;
    qids.push_back(qid_of(*status));
    at = std::move(*next);
  }
  if (qids.size() == names.size()) fids_.insert_or_assign(new_fid, Fid{std::move(at)});
  out.put(static_cast<std::uint16_t>(qids.size()));
  for (const P9Qid& qid : qids) out.put_qid(qid);
  return {};
}

OrErrno<void> P9Server::clunk(P9Reader& in, P9Writer&) {
  const auto fid = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  if (fids_.erase(fid) == 0) return refused(EBADF);
  return {};
}

// remove(5): the fid is gone even though the file is not.
OrErrno<void> P9Server::remove(P9Reader& in, P9Writer& out) {
  CBIT_TRY(clunk(in, out));
  return refused(EROFS);
}

// What it would change does not matter, so the rest is not looked at.
OrErrno<void> P9Server::refuse_change(P9Reader& in, P9Writer&) {
  CBIT_TRY(find(in.take<std::uint32_t>()));
  return refused(EROFS);
}

// ---- files ----------------------------------------------------------------------------------------------

OrErrno<void> P9Server::open(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  const auto flags = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  Fid* const opened = CBIT_TRY(find(fid));
  if (opened->state != Fid::State::closed) return refused(EINVAL);
  if ((flags & p9_open::access_mode) != p9_open::read_only ||
      (flags & (p9_open::create | p9_open::truncate)) != 0)
    return refused(EROFS);
  const struct stat status = CBIT_TRY(opened->node.status());
  const bool folder = S_ISDIR(status.st_mode);
  if (!folder && (flags & p9_open::directory) != 0) return refused(ENOTDIR);
  CBIT_TRY(opened->node.open());
  opened->state = folder ? Fid::State::folder : Fid::State::file;
  out.put_qid(qid_of(status));
  out.put(msize_ - p9_io_header_bytes);
  return {};
}

// How much data an answer has room for.
std::uint32_t P9Server::data_max() const {
  return static_cast<std::uint32_t>(std::min<std::size_t>(msize_, room_)) - p9_data_header_bytes;
}

OrErrno<void> P9Server::read(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  const auto offset = in.take<std::uint64_t>();
  const auto count = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  const Fid* const from = CBIT_TRY(find(fid));
  if (from->state == Fid::State::folder) return refused(EISDIR);
  if (from->state != Fid::State::file) return refused(EBADF);
  Bytes data(std::min(count, data_max()));
  data.resize(CBIT_TRY(from->node.read(offset, data)));
  out.put(static_cast<std::uint32_t>(data.size()));
  out.put_bytes(data);
  return {};
}

OrErrno<void> P9Server::list(Fid& fid) {
  fid.entries.clear();
  std::size_t held = 0;
  for (const auto& [number, other] : fids_) held += other.entries.size();
  auto found = CBIT_TRY(folder_->list(fid.node, entries_max - std::min(held, entries_max)));
  for (SharedEntry& entry : found)
    fid.entries.push_back({qid_of(entry.status), entry_type_of(entry.status.st_mode), std::move(entry.name)});
  return {};
}

// An entry's offset is where to go on behind it. Reading from the start looks anew.
OrErrno<void> P9Server::read_folder(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  const auto offset = in.take<std::uint64_t>();
  const auto count = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  Fid* const from = CBIT_TRY(find(fid));
  if (from->state == Fid::State::file) return refused(ENOTDIR);
  if (from->state != Fid::State::folder) return refused(EBADF);
  if (offset == 0) CBIT_TRY(list(*from));

  const std::vector<Entry>& entries = from->entries;
  const std::size_t first = std::min<std::uint64_t>(offset, entries.size());
  const std::size_t most = std::min(count, data_max());
  std::size_t end = first;
  std::size_t bytes = 0;
  while (end < entries.size() && bytes + bytes_of_entry(entries[end].name) <= most)
    bytes += bytes_of_entry(entries[end++].name);
  // getdents(2) has it so where not even one fits.
  if (end == first && end < entries.size()) return refused(EINVAL);
  out.put(static_cast<std::uint32_t>(bytes));
  for (std::size_t i = first; i < end; ++i) {
    out.put_qid(entries[i].qid);
    out.put(static_cast<std::uint64_t>(i + 1));
    out.put(entries[i].type);
    out.put_text(entries[i].name);
  }
  return {};
}

OrErrno<void> P9Server::attributes(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  static_cast<void>(in.take<std::uint64_t>());  // what is asked for: more is no harm
  CBIT_TRY(check_done(in));
  const struct stat status = CBIT_TRY(CBIT_TRY(find(fid))->node.status());
  out.put(p9_stats_basic);
  out.put_qid(qid_of(status));
  out.put(std::uint32_t{status.st_mode});
  out.put(std::uint32_t{status.st_uid});
  out.put(std::uint32_t{status.st_gid});
  out.put(std::uint64_t{status.st_nlink});
  out.put(std::uint64_t{status.st_rdev});
  out.put(static_cast<std::uint64_t>(status.st_size));
  out.put(static_cast<std::uint64_t>(status.st_blksize));
  out.put(static_cast<std::uint64_t>(status.st_blocks));
  put_time(out, status.st_atim);
  put_time(out, status.st_mtim);
  put_time(out, status.st_ctim);
  // Time of birth, generation, version of the data: not among what is valid.
  put_time(out, {});
  out.put(std::uint64_t{0});
  out.put(std::uint64_t{0});
  return {};
}

OrErrno<void> P9Server::read_link(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  out.put_text(CBIT_TRY(CBIT_TRY(find(fid))->node.target()));
  return {};
}

OrErrno<void> P9Server::file_system(P9Reader& in, P9Writer& out) {
  const auto fid = in.take<std::uint32_t>();
  CBIT_TRY(check_done(in));
  const struct statfs status = CBIT_TRY(CBIT_TRY(find(fid))->node.file_system());
  out.put(static_cast<std::uint32_t>(status.f_type));
  out.put(static_cast<std::uint32_t>(status.f_bsize));
  out.put(static_cast<std::uint64_t>(status.f_blocks));
  out.put(static_cast<std::uint64_t>(status.f_bfree));
  out.put(static_cast<std::uint64_t>(status.f_bavail));
  out.put(static_cast<std::uint64_t>(status.f_files));
  out.put(static_cast<std::uint64_t>(status.f_ffree));
  out.put(load<std::uint64_t>(bytes_of(status.f_fsid)));
  out.put(static_cast<std::uint32_t>(status.f_namelen));
  return {};
}

OrErrno<void> P9Server::extended_attribute(P9Reader& in, P9Writer&) {
  const auto fid = in.take<std::uint32_t>();
  static_cast<void>(in.take<std::uint32_t>());
  static_cast<void>(in.take_text());
  CBIT_TRY(check_done(in));
  CBIT_TRY(find(fid));
  return refused(EOPNOTSUPP);
}

OrErrno<void> P9Server::sync(P9Reader& in, P9Writer&) {
  const auto fid = in.take<std::uint32_t>();
  static_cast<void>(in.take<std::uint32_t>());  // of the data alone
  CBIT_TRY(check_done(in));
  CBIT_TRY(find(fid));
  return {};
}

OrErrno<void> P9Server::lock(P9Reader& in, P9Writer& out) {
  constexpr std::size_t range = 1 + 4 + 8 + 8 + 4;  // type, flags, start, length, process
  const auto fid = in.take<std::uint32_t>();
  static_cast<void>(in.take_bytes(range));
  static_cast<void>(in.take_text());
  CBIT_TRY(check_done(in));
  CBIT_TRY(find(fid));
  out.put(p9_lock_success);
  return {};
}

// Nobody holds one that would be in the way.
OrErrno<void> P9Server::test_lock(P9Reader& in, P9Writer& out) {
  constexpr std::size_t range = 8 + 8 + 4;  // start, length, process
  const auto fid = in.take<std::uint32_t>();
  static_cast<void>(in.take<std::uint8_t>());
  const ConstByteSpan where = in.take_bytes(range);
  const std::string_view client = in.take_text();
  CBIT_TRY(check_done(in));
  CBIT_TRY(find(fid));
  out.put(p9_lock_type_unlck);
  out.put_bytes(where);
  out.put_text(client);
  return {};
}

}  // namespace cbit::dev
