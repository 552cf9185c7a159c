// What each way to encrypted user memory can do: the system call, the driver, and the extension to files and
// persistent memory. Every cell is a run on a machine of its own, told in errnos and bytes.
#include "kernel/mktme/mktme.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>

#include "explain/cause_names.hpp"
#include "explain/tables/tables.hpp"
#include "kernel/mktme/backings.hpp"
#include "kernel/mm/swap.hpp"
#include "testbed/testbed.hpp"

namespace cbit::explain {
namespace {

constexpr std::uint64_t table_memory = 64ull << 20;
constexpr std::string_view payload = "type=cpu algorithm=aes-xts-128";

enum class Way : std::uint8_t { call, driver, file, dax };

std::string refused(int error) { return std::string{kernel::errno_name(error)}; }

// A machine with two keys, a process, and persistent memory of one page.
class MktmeScene {
 public:
  static OrError<std::unique_ptr<MktmeScene>> create(std::uint64_t seed, kernel::MktmeConfig config = {}) {
    testbed::TestbedConfig bed;
    bed.machine = {.platform = Platform::mktme, .memory_bytes = table_memory, .seed = seed};
    std::unique_ptr<MktmeScene> scene{new MktmeScene};
    scene->bed_ = CBIT_TRY(testbed::Testbed::create(bed));
    auto mktme = kernel::Mktme::create(scene->kernel(), config);
    auto process = kernel::Process::create(scene->kernel());
    const auto frame = scene->mm().page_allocator().allocate(1);
    if (!mktme || !process || !frame) return bad_input("the machine is too small for the table");
    scene->mktme = *std::move(mktme);
    scene->process = *std::move(process);
    scene->pmem = {*frame, page_size};
    for (std::size_t i = 0; i < scene->keys.size(); ++i)
      scene->keys[i] = scene->mktme->add_key(fmt::format("key {}", i), payload).value_or(0);
    return scene;
  }

  [[nodiscard]] kernel::Kernel& kernel() { return bed_->kernel(); }
  [[nodiscard]] kernel::Mm& mm() { return kernel().mm(); }
  // Of what went wrong until now.
  [[nodiscard]] const std::vector<watch::Cause>& causes() {
    bed_->explainer().finish(watch::Ending::in_flight);
    return bed_->explainer().causes();
  }
  [[nodiscard]] OrError<testbed::TestDevice> device() { return bed_->add_device({}); }

  // Encrypted memory of one page with the text in it, made in this way under keys[key].
  Result<VirtAddr, int> encrypted(Way way, std::size_t key = 0) {
    const VirtAddr at = CBIT_TRY(map(way, key));
    if (!process->write(at, text)) return tl::unexpected{EFAULT};
    return at;
  }
  Result<VirtAddr, int> map(Way way, std::size_t key) {
    const mem::KeySelector id = mktme->key_id(keys[key]);
    switch (way) {
      case Way::call: {
        const VirtAddr at = CBIT_TRY(process->mmap(page_size));
        CBIT_TRY(mktme->encrypt_mprotect(*process, at, page_size, kernel::prot_read_write, keys[key]));
        return at;
      }
      case Way::driver: return process->mmap_backed(CBIT_TRY(mktme->open_device(keys[key], 1)), 0, page_size);
      case Way::file:
        if (file != nullptr) storage = file->storage();
        file = std::make_shared<kernel::CachedFile>(kernel(), storage, id);
        return process->mmap_backed(file, 0, page_size);
      case Way::dax: break;
    }
    return process->mmap_backed(std::make_shared<kernel::PmemFile>(kernel(), pmem, id), 0, page_size);
  }

  // "the text", "zeros" or "noise".
  [[nodiscard]] std::string word_for(ConstByteSpan seen) const {
    if (std::ranges::equal(seen, text)) return "the text";
    return all_zero(seen) ? "zeros" : "noise";
  }
  std::string read(kernel::Process& reader, VirtAddr at) {
    Bytes seen(text.size());
    if (!reader.read(at, seen)) return "nothing";
    return word_for(seen);
  }
  // What a probe on the memory chips sees of the text.
  std::string dram(PhysAddr at) {
    Bytes seen(text.size());
    if (!bed_->memory().probe(at, seen)) return "nothing";
    return std::ranges::equal(seen, text) ? "plain text" : "ciphertext";
  }
  [[nodiscard]] unsigned key_id(PhysAddr page) { return mm().page_key_id(page); }

  const Bytes text = pattern_bytes(64, 3);

 private:
  MktmeScene() = default;
  std::unique_ptr<testbed::Testbed> bed_;

 public:
  mem::PhysRange pmem;
  Bytes storage = Bytes(page_size);
  std::array<kernel::KeySerial, 2> keys{};
  std::unique_ptr<kernel::Mktme> mktme;
  std::shared_ptr<kernel::CachedFile> file;
  std::unique_ptr<kernel::SwapDevice> swap;
  std::unique_ptr<kernel::Process> process;
};

using Cell = Result<std::string, int>;

Cell at_rest(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  const PhysAddr page = s.process->page_at(at).value_or(PhysAddr{});
  return fmt::format("{} in DRAM, KeyID {}", s.dram(page), s.key_id(page));
}

// Another key for memory that has contents: by the call where it is one, else by mapping the object again.
Cell key_change(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  if (way == Way::call || way == Way::driver) {
    CBIT_TRY(s.mktme->encrypt_mprotect(*s.process, at, page_size, kernel::prot_read_write, s.keys[1]));
    return fmt::format("the process reads {}", s.read(*s.process, at));
  }
  if (way == Way::file) CBIT_TRY(s.file->write_back());
  CBIT_TRY(s.process->munmap(at, page_size));
  const VirtAddr again = CBIT_TRY(s.map(way, 1));
  return fmt::format("the process reads {}", s.read(*s.process, again));
}

Cell fork(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  const auto child = CBIT_TRY(s.process->fork());
  const std::string inherited = s.read(*child, at);
  if (!child->write(at, Bytes(s.text.size(), std::byte{0x55}))) return tl::unexpected{EFAULT};
  const bool shared = s.read(*s.process, at) != "the text";
  return fmt::format("the child reads {}; {}, KeyID {}", inherited, shared ? "shared" : "a copy when written",
                     s.key_id(child->page_at(at).value_or(PhysAddr{})));
}

Cell swap(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  const auto device = s.device();
  if (!device) return tl::unexpected{ENODEV};
  s.swap = std::make_unique<kernel::SwapDevice>(s.kernel(), device->driver);
  const std::uint64_t slot = CBIT_TRY(kernel::swap_out(*s.process, at, *s.swap));
  const std::string medium = s.word_for(ConstByteSpan{s.swap->medium(slot)}.first(s.text.size()));
  return fmt::format("the medium holds {}, the process reads {}", medium, s.read(*s.process, at));
}

Cell migration(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  const PhysAddr to = CBIT_TRY(kernel::migrate_page(*s.process, at));
  return fmt::format("the process reads {}; {} in DRAM", s.read(*s.process, at), s.dram(to));
}

// The way applied to a mapping of persistent memory; the driver has none to apply it to.
Cell dax(MktmeScene& s, Way way) {
  if (way == Way::dax) return at_rest(s, way);
  const VirtAddr at =
      CBIT_TRY(s.process->mmap_backed(std::make_shared<kernel::PmemFile>(s.kernel(), s.pmem), 0, page_size));
  if (way == Way::call)
    CBIT_TRY(s.mktme->encrypt_mprotect(*s.process, at, page_size, kernel::prot_read_write, s.keys[0]));
  const VirtAddr other = CBIT_TRY(s.encrypted(way));
  const bool on_pmem = s.process->page_at(other) == s.pmem.first;
  return fmt::format("{}", on_pmem ? "its pages are the file" : "its pages are others than the file's");
}

// A guest whose memory is the file: KVM takes the KeyID of the page that backs it into the nested entry.
Cell nvdimm_guest(MktmeScene& s, Way way) {
  const bool has_key = way == Way::dax;
  const VirtAddr at = CBIT_TRY(s.process->mmap_backed(
      std::make_shared<kernel::PmemFile>(s.kernel(), s.pmem,
                                         has_key ? s.mktme->key_id(s.keys[0]) : mem::KeySelector{0}),
      0, page_size));
  std::string refusal;
  if (way == Way::call)
    if (const auto done =
            s.mktme->encrypt_mprotect(*s.process, at, page_size, kernel::prot_read_write, s.keys[0]);
        !done)
      refusal = refused(done.error()) + "; ";
  static_cast<void>(s.read(*s.process, at));
  const PhysAddr page = s.process->page_at(at).value_or(PhysAddr{});
  const mem::Access guest{
      {AgentKind::cpu, 0}, s.kernel().machine().paging().view.key(s.mm().page_key_id(page)), 0};
  if (!s.kernel().machine().memory().write(page, s.text, guest)) return tl::unexpected{EFAULT};
  return fmt::format("{}nested KeyID {}: {} in DRAM", refusal, s.key_id(page), s.dram(page));
}

Cell gup_dma(MktmeScene& s, Way way) {
  const VirtAddr at = CBIT_TRY(s.encrypted(way));
  const auto device = s.device();
  if (!device) return tl::unexpected{ENODEV};
  const auto pinned = CBIT_TRY(s.process->pin_user_pages(at, 1, true));
  kernel::Kernel& kernel = s.kernel();
  const DmaAddr dma =
      kernel.dma().map_page(kernel.cpu(0), device->driver, pinned[0], page_size, DmaDirection::to_device, {});
  if (kernel.dma().mapping_error(device->driver, dma)) return tl::unexpected{EIO};
  const auto seen = device->hardware.read(dma, s.text.size());
  kernel.dma().unmap_page(kernel.cpu(0), device->driver, dma, page_size, DmaDirection::to_device, {});
  s.process->unpin_user_pages(pinned, false);
  if (!seen) return tl::unexpected{EIO};
  return fmt::format("KeyID {} in the address, the device reads {}", kernel.cc().layout().split(dma).second,
                     s.word_for(*seen));
}

// A kernel without the way: what a program that asks for it gets, and what it is left with.
Cell fallback(MktmeScene& s, Way way) {
  s.keys = {};  // files and persistent memory without the extension have no KeyID
  const auto at = s.encrypted(way);
  const VirtAddr left = at ? *at : CBIT_TRY(s.process->mmap(page_size));
  if (!s.process->write(left, s.text)) return tl::unexpected{EFAULT};
  const PhysAddr page = s.process->page_at(left).value_or(PhysAddr{});
  return fmt::format("{}: {} in DRAM",
                     at ? "the mapping is there" : refused(at.error()) + ", then anonymous memory",
                     s.dram(page));
}

struct Question {
  std::string_view name;
  Cell (*ask)(MktmeScene&, Way);
  kernel::MktmeConfig config;
};

constexpr Question questions[] = {
    {"at rest", at_rest, {}},
    {"key change", key_change, {}},
    {"fork", fork, {}},
    {"swap", swap, {}},
    {"migration", migration, {}},
    {"DAX", dax, {}},
    {"NVDIMM-backed guest", nvdimm_guest, {}},
    {"GUP and DMA", gup_dma, {}},
    {"fallback", fallback, {.has_system_call = false, .has_device = false}},
};

OrError<Table> make_mktme_table(const TableRequest& request) {
  Table table{
      .columns = {"question", "encrypt_mprotect", "/dev/mktme", "file (extension)", "DAX (extension)",
                  "causes"},
      .rows = {},
      .notes = {"The extension to files and persistent memory was announced and never posted; here a file "
                "or a region has one KeyID, which its mappings take over.",
                "A file's pages are not swapped, they are written back to the file; the storage then holds "
                "plain text.",
                "\"fallback\": the kernel has neither the system call nor the device."}};
  for (const Question& question : questions) {
    std::vector<std::string> row{std::string{question.name}};
    CauseNames causes;
    for (const Way way : {Way::call, Way::driver, Way::file, Way::dax}) {
      const auto scene = CBIT_TRY(MktmeScene::create(request.seed, question.config));
      const Cell cell = question.ask(*scene, way);
      row.push_back(cell ? *cell : refused(cell.error()));
      causes.add(scene->causes());
    }
    row.push_back(causes.text());
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

TableSpec mktme_table() {
  return {.name = "mktme",
          .title = "What each way to encrypted user memory can do",
          .platforms = {Platform::mktme},
          .versions = {},
          .make = make_mktme_table};
}

}  // namespace cbit::explain
