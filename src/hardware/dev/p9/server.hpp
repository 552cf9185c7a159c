// A 9P2000.L server of one shared folder, which is read only. spec/p9.hpp.
//
// One question is answered before the next is asked. Whatever a client sends, the outcome is an answer: of a
// message that is not what its type and size say Rlerror with EINVAL, of one that would change something
// EROFS, of one that is not known EOPNOTSUPP. Locks are granted, since nobody else asks this server.
//
// What a client can make it hold is bounded: fids, each with one descriptor; entries of folders that are
// being read; the size of a message. Threading: one thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "dev/p9/message.hpp"
#include "dev/p9/shared_folder.hpp"
#include "spec/p9.hpp"

namespace cbit::dev {

class P9Server {
 public:
  static constexpr std::uint32_t msize_max = 128 * 1024;
  // A process has 1024 descriptors by default, and not for its guest alone.
  static constexpr std::size_t default_fids_max = 512;
  static constexpr std::size_t entries_max = 1 << 18;  // of all folders that are being read

  // The folder outlives it. Each fid has a descriptor of this process.
  explicit P9Server(const SharedFolder& folder, std::size_t fids_max = default_fids_max)
      : folder_{&folder}, fids_max_{fids_max} {}

  // The answer to a message, at most `room` bytes. `room` is at least spec::p9_error_bytes.
  [[nodiscard]] Bytes answer(ConstByteSpan message, std::size_t room);
  // As if nobody had ever asked anything.
  void reset();

  [[nodiscard]] std::size_t fids() const { return fids_.size(); }

 private:
  struct Entry {
    P9Qid qid;
    std::uint8_t type = 0;  // as of dirent: DT_REG
    std::string name;
  };
  struct Fid {
    explicit Fid(SharedNode at) : node{std::move(at)} {}

    SharedNode node;
    enum class State : std::uint8_t { closed, file, folder } state = State::closed;
    std::vector<Entry> entries;  // of a folder, as it was when reading began
  };
  using Handle = OrErrno<void> (P9Server::*)(P9Reader& in, P9Writer& out);
  struct Row {
    std::uint8_t type;
    Handle handle;
  };
  static const Row rows[];

  [[nodiscard]] OrErrno<Bytes> try_answer(ConstByteSpan message, std::uint8_t type, std::uint16_t tag);

  OrErrno<void> version(P9Reader& in, P9Writer& out);
  OrErrno<void> attach(P9Reader& in, P9Writer& out);
  OrErrno<void> walk(P9Reader& in, P9Writer& out);
  OrErrno<void> open(P9Reader& in, P9Writer& out);
  OrErrno<void> read(P9Reader& in, P9Writer& out);
  OrErrno<void> read_folder(P9Reader& in, P9Writer& out);
  OrErrno<void> attributes(P9Reader& in, P9Writer& out);
  OrErrno<void> read_link(P9Reader& in, P9Writer& out);
  OrErrno<void> file_system(P9Reader& in, P9Writer& out);
  OrErrno<void> extended_attribute(P9Reader& in, P9Writer& out);
  OrErrno<void> flush(P9Reader& in, P9Writer& out);
  OrErrno<void> sync(P9Reader& in, P9Writer& out);
  OrErrno<void> lock(P9Reader& in, P9Writer& out);
  OrErrno<void> test_lock(P9Reader& in, P9Writer& out);
  OrErrno<void> clunk(P9Reader& in, P9Writer& out);
  OrErrno<void> remove(P9Reader& in, P9Writer& out);
  OrErrno<void> refuse_change(P9Reader& in, P9Writer& out);

  [[nodiscard]] OrErrno<Fid*> find(std::uint32_t fid);
  // There may be a new fid of this number.
  [[nodiscard]] OrErrno<void> check_free(std::uint32_t fid) const;
  [[nodiscard]] P9Qid qid_of(const struct stat& status) const;
  [[nodiscard]] OrErrno<void> list(Fid& fid);
  [[nodiscard]] std::uint32_t data_max() const;

  const SharedFolder* folder_;
  std::size_t fids_max_;
  std::map<std::uint32_t, Fid> fids_;
  std::uint32_t msize_ = 0;  // 0: no version is agreed on
  std::size_t room_ = 0;     // of the answer that is being made
};

}  // namespace cbit::dev
