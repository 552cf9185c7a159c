// MKTME in the kernel: keys, encrypt_mprotect(), pages and their KeyIDs, DMA, swap, migration, the
// alternatives.
#include "kernel/mktme/mktme.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "dma_board.hpp"
#include "kernel/mktme/backings.hpp"
#include "kernel/mm/swap.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view cpu_key = "type=cpu algorithm=aes-xts-128";
constexpr std::string_view user_key =
    "type=user algorithm=aes-xts-128 key=000102030405060708090a0b0c0d0e0f "
    "tweak=0f0e0d0c0b0a09080706050403020100";

class MktmeBoard : public testing::Test {
 protected:
  explicit MktmeBoard(mem::CacheModel cache = mem::CacheModel::coherent, DmaConfig dma = {})
      : board{Platform::mktme, dma, {.memory_bytes = 64ull << 20, .cache = cache}} {}

  std::unique_ptr<Mktme> service(MktmeRevision revision, bool has_call = true) {
    return Mktme::create(*board.kernel, {revision, has_call}).value();
  }
  Mm& mm() { return board.kernel->mm(); }
  Bytes dram(PhysAddr at, std::uint64_t bytes = 64) {
    Bytes seen(bytes);
    EXPECT_TRUE(board.machine->memory().probe(at, seen));
    return seen;
  }
  static Bytes load(Process& reader, VirtAddr at, std::uint64_t bytes = 64) {
    Bytes seen(bytes);
    EXPECT_TRUE(reader.read(at, seen));
    return seen;
  }
  // A page of the process under the key, that holds `text`.
  VirtAddr encrypted_page(KeySerial key) {
    const VirtAddr at = process->mmap(page_size).value();
    EXPECT_TRUE(mktme->encrypt_mprotect(*process, at, page_size, prot_read_write, key));
    EXPECT_TRUE(process->write(at, text));
    return at;
  }
  std::vector<std::string_view> refusals() {
    std::vector<std::string_view> words;
    for (const auto& refused : board.log.all<KeyRequestRefused>()) words.push_back(refused.reason);
    return words;
  }

  const Bytes text = pattern_bytes(64, 7);
  DmaBoard board;
  std::unique_ptr<Mktme> mktme = service(MktmeRevision::v2_59);
  std::unique_ptr<Process> process = Process::create(*board.kernel).value();
};

using MktmeKeys = MktmeBoard;
using EncryptMprotect = MktmeBoard;
using MktmePages = MktmeBoard;
using MktmeAlternatives = MktmeBoard;

TEST_F(MktmeKeys, TakesTheLowestKeyIdAndProgramsIt) {
  const KeySerial first = mktme->add_key("a", cpu_key).value();
  const KeySerial second = mktme->add_key("b", "\talgorithm=aes-xts-128  type=cpu ").value();
  EXPECT_EQ(mktme->key_id(first), 1);
  EXPECT_EQ(mktme->key_id(second), 2);
  EXPECT_TRUE(board.machine->keys().installed(1));
  EXPECT_EQ(board.log.all<KeyProgrammed>().size(), 2u);
  EXPECT_EQ(mktme->free_key_ids(), 61u);
}

TEST_F(MktmeKeys, RefusesPayloadsThatItsRevisionDoesNotKnow) {
  const auto error = [&](MktmeRevision revision, std::string_view payload) {
    const auto added = service(revision)->add_key("k", payload);
    return added ? 0 : added.error();
  };
  const std::string too_long(1025, ' ');
  const std::string_view bad_payloads[] = {"",
                                           " ",
                                           "cpu",
                                           "type=cpu",
                                           "type=CPU algorithm=aes-xts-128",
                                           "type=cpu algorithm=aes-xts-256",
                                           "type=cpu type=cpu algorithm=aes-xts-128",
                                           "type=cpu algorithm=aes-xts-128 keys=1",
                                           "algorithm=aes-xts-128",
                                           too_long};
  for (const std::string_view bad : bad_payloads)
    for (const auto revision : {MktmeRevision::rfc_13, MktmeRevision::rfc_62, MktmeRevision::v2_59})
      EXPECT_EQ(error(revision, bad), EINVAL) << bad;
  EXPECT_EQ(error(MktmeRevision::rfc_13, user_key), 0);
  EXPECT_EQ(error(MktmeRevision::rfc_62, user_key), 0);
  EXPECT_EQ(error(MktmeRevision::v2_59, user_key), EINVAL);
  EXPECT_EQ(error(MktmeRevision::rfc_62, "type=user algorithm=aes-xts-128 key=00"), EINVAL);
  EXPECT_EQ(error(MktmeRevision::rfc_62, "type=user algorithm=aes-xts-128 key=0 tweak=0"), EINVAL);
  EXPECT_EQ(error(MktmeRevision::rfc_62, "type=clear"), EINVAL);
  EXPECT_EQ(error(MktmeRevision::v2_59, "type=no-encrypt"), 0);
  EXPECT_EQ(error(MktmeRevision::v2_59, "type=no-encrypt algorithm=aes-xts-128"), EINVAL);
  // The hardware wants an activated algorithm with every command, which v2 gives it.
  EXPECT_EQ(error(MktmeRevision::rfc_62, "type=no-encrypt"), ENOKEY);
  EXPECT_EQ(error(MktmeRevision::rfc_62, "type=no-encrypt algorithm=aes-xts-128"), 0);
}

TEST_F(MktmeKeys, NeedsOneOfTwoCapabilities) {
  EXPECT_EQ(mktme->add_key("k", "nonsense", {false, false}).error(), EACCES);
  EXPECT_TRUE(mktme->add_key("k", cpu_key, {false, true}));
  EXPECT_TRUE(mktme->add_key("l", cpu_key, {true, false}));
}

TEST_F(MktmeKeys, EndsWhenNoKeyIdIsFree) {
  for (int i = 0; i < 63; ++i) ASSERT_TRUE(mktme->add_key(std::to_string(i), cpu_key));
  EXPECT_EQ(mktme->add_key("one more", cpu_key).error(), ENOKEY);
  EXPECT_EQ(refusals(), std::vector<std::string_view>{"no-free-key-id"});
}

TEST_F(MktmeKeys, RetriesWhatMaySucceedLaterAndNotTheRest) {
  machine::Tme& tme = *board.machine->tme();
  tme.fail_next(machine::PconfigStatus::device_busy);
  EXPECT_TRUE(mktme->add_key("a", cpu_key));
  EXPECT_EQ(board.log.all<KeyProgrammed>().size(), 2u);
  tme.fail_next(machine::PconfigStatus::invalid_key_id);
  EXPECT_EQ(mktme->add_key("b", cpu_key).error(), ENOKEY);
  EXPECT_EQ(board.log.all<KeyProgrammed>().size(), 3u);
  EXPECT_EQ(board.log.all<KernelMessage>().back().text, "mktme: KeyID not valid");
  EXPECT_EQ(mktme->free_key_ids(), 62u);
}

TEST_F(MktmeKeys, UpdatesAnUnusedKeyOnTheFirstRevisionOnly) {
  const auto old = service(MktmeRevision::rfc_13);
  const KeySerial key = old->add_key("k", cpu_key).value();
  EXPECT_EQ(old->add_key("k", user_key).value(), key);
  const VirtAddr at = process->mmap(page_size).value();
  ASSERT_TRUE(old->encrypt_mprotect(*process, at, page_size, prot_read_write, key));
  EXPECT_EQ(old->add_key("k", cpu_key).error(), EBUSY);
}

TEST_F(MktmeKeys, AreNotThereWhereTheFirmwareLeftThemOff) {
  machine::Tme& tme = *board.machine->tme();
  tme.set_activate(tme.activate().with<machine::TmeActivate::Locked>(false));
  EXPECT_EQ(Mktme::create(*board.kernel).error(), ENODEV);
  DmaBoard plain{Platform::plain, {}, {.memory_bytes = 64ull << 20}};
  EXPECT_EQ(Mktme::create(*plain.kernel).error(), ENODEV);
}

TEST_F(EncryptMprotect, LosesContentsAndEncryptsWhatComes) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = process->mmap(page_size).value();
  ASSERT_TRUE(process->write(at, text));
  ASSERT_TRUE(mktme->encrypt_mprotect(*process, at, page_size, prot_read_write, key));
  EXPECT_EQ(load(*process, at), Bytes(64));
  ASSERT_TRUE(process->write(at, text));
  EXPECT_EQ(load(*process, at), text);
  EXPECT_NE(dram(*process->page_at(at)), text);
  EXPECT_EQ(mm().page_key_id(*process->page_at(at)), 1);
  const auto changed = board.log.all<VmaKeyChanged>();
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed[0].pages_zapped, 1u);
  // The same KeyID again: only the contents go.
  ASSERT_TRUE(mktme->encrypt_mprotect(*process, at, page_size, prot_read_write, key));
  EXPECT_EQ(load(*process, at), Bytes(64));
}

TEST_F(EncryptMprotect, GivesErrorsInTheOrderOfThePatches) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = process->mmap(2 * page_size).value();
  const auto error = [&](VirtAddr where, std::uint64_t bytes, KeySerial serial) {
    const auto done = mktme->encrypt_mprotect(*process, where, bytes, prot_read_write, serial);
    return done ? 0 : done.error();
  };
  EXPECT_EQ(error(at, 100, 1), EINVAL);
  EXPECT_EQ(error(at + 1, page_size, 1), ENOKEY);
  EXPECT_EQ(error(at + 1, page_size, key), EINVAL);
  EXPECT_EQ(error(at, 3 * page_size, key), ENOMEM);
  EXPECT_EQ(error(at, 0, key), 0);
  ASSERT_TRUE(mktme->set_view_permission(key, false));
  EXPECT_EQ(error(at, page_size, key), EACCES);
  EXPECT_EQ(error(at, 100, key), EINVAL);
  const auto without = service(MktmeRevision::v2_59, false);
  EXPECT_EQ(without->encrypt_mprotect(*process, at, 100, prot_read_write, 1).error(), ENOSYS);
  EXPECT_EQ(refusals().front(), "length-not-page-aligned");
}

TEST_F(EncryptMprotect, ChangesAllOrNothing) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = process->mmap(2 * page_size).value();
  const auto file = std::make_shared<CachedFile>(*board.kernel, Bytes(page_size));
  const VirtAddr mapped = process->mmap_backed(file, 0, page_size).value();
  ASSERT_EQ(mapped, at + 3 * page_size);  // behind the guard page
  ASSERT_TRUE(process->write(at, text));
  EXPECT_EQ(mktme->encrypt_mprotect(*process, at, 4 * page_size, prot_read_write, key).error(), EINVAL);
  EXPECT_EQ(load(*process, at), text);
  EXPECT_EQ(process->areas().find(at)->key.id(), 0);
}

TEST_F(EncryptMprotect, SplitsAreasAndMergesThemOnlyUnderOneKeyId) {
  const KeySerial a = mktme->add_key("a", cpu_key).value(), b = mktme->add_key("b", cpu_key).value();
  const VirtAddr at = process->mmap(4 * page_size).value();
  const auto encrypt = [&](unsigned page, KeySerial key) {
    ASSERT_TRUE(mktme->encrypt_mprotect(*process, at + page * page_size, page_size, prot_read_write, key));
  };
  encrypt(1, a);
  encrypt(2, b);
  EXPECT_EQ(process->areas().areas().size(), 4u);
  encrypt(2, a);
  EXPECT_EQ(process->areas().areas().size(), 3u);
  EXPECT_EQ(mm().user_pages().key_refs().count(1), 1u);
  EXPECT_EQ(mm().user_pages().key_refs().count(2), 0u);
}

TEST_F(EncryptMprotect, KeepsTheKeyIdThroughFork) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = encrypted_page(key);
  const auto child = process->fork().value();
  EXPECT_EQ(child->areas().find(at)->key.id(), 1);
  EXPECT_EQ(load(*child, at), text);
  ASSERT_TRUE(child->write(at, Bytes(1)));
  EXPECT_EQ(mm().page_key_id(*child->page_at(at)), 1);
  EXPECT_EQ(load(*process, at), text);
}

TEST_F(MktmePages, KeepAKeyIdTakenUntilTheLastIsGone) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = encrypted_page(key);
  const auto pinned = process->pin_user_pages(at, 1, true).value();
  ASSERT_TRUE(mktme->revoke_key(key));
  EXPECT_EQ(load(*process, at), text);
  ASSERT_TRUE(process->munmap(at, page_size));
  EXPECT_EQ(mktme->free_key_ids(), 62u);
  EXPECT_EQ(mktme->key_id(mktme->add_key("next", cpu_key).value()), 2);
  process->unpin_user_pages(pinned, true);
  EXPECT_EQ(mktme->free_key_ids(), 62u);
  EXPECT_EQ(mktme->key_id(mktme->add_key("third", cpu_key).value()), 1);
}

TEST_F(MktmePages, AreFlushedWhenTheyChangeKeyId) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  board.log.clear();
  const VirtAddr at = encrypted_page(key);
  const PhysAddr page = *process->page_at(at);
  ASSERT_TRUE(process->munmap(at, page_size));
  const auto changes = board.log.all<PageKeyChanged>();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].page, page);
  EXPECT_EQ(changes[0].to, 1);
  EXPECT_EQ(changes[1].to, 0);
  EXPECT_EQ(board.log.all<Flush>().size(), 2u);
}

TEST_F(MktmePages, CarryTheirKeyIdInDmaAddresses) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = encrypted_page(key);
  Device& dev = board.add_device(64);
  bus::DmaPort port = board.port(dev);
  const auto pinned = process->pin_user_pages(at, 1, true).value();
  const DmaAddr dma =
      board.dma().map_page(board.cpu(), dev, pinned[0], page_size, DmaDirection::bidirectional, {});
  EXPECT_EQ(dma.value(), pinned[0].value() | 1ull << 46);
  Bytes seen(64);
  ASSERT_TRUE(port.read(dma, seen));
  EXPECT_EQ(seen, text);
  ASSERT_TRUE(port.write(dma, pattern_bytes(64, 8)));
  EXPECT_EQ(load(*process, at), pattern_bytes(64, 8));
  // Without the KeyID the device meets ciphertext.
  ASSERT_TRUE(port.read(DmaAddr{pinned[0].value()}, seen));
  EXPECT_NE(seen, pattern_bytes(64, 8));
  board.dma().unmap_page(board.cpu(), dev, dma, page_size, DmaDirection::bidirectional, {});
  process->unpin_user_pages(pinned, true);
}

TEST_F(MktmePages, AreSwappedAsPlainTextAndComeBackUnderTheirKeyId) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  SwapDevice swap{*board.kernel, board.add_device(64)};
  const VirtAddr at = encrypted_page(key);
  const std::uint64_t slot = swap_out(*process, at, swap).value();
  EXPECT_TRUE(std::ranges::equal(text, ConstByteSpan{swap.medium(slot)}.first(64)));
  EXPECT_FALSE(process->page_at(at));
  EXPECT_EQ(load(*process, at), text);
  EXPECT_EQ(mm().page_key_id(*process->page_at(at)), 1);
  EXPECT_EQ(swap.slots_used(), 0u);
  EXPECT_TRUE(board.log.all<FrameCopied>().empty());
  process.reset();
}

TEST_F(MktmePages, MigrateWithTheirContents) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = encrypted_page(key);
  const auto child = process->fork().value();
  const PhysAddr before = *process->page_at(at);
  const PhysAddr after = migrate_page(*process, at).value();
  EXPECT_NE(before, after);
  EXPECT_EQ(child->page_at(at), after);
  EXPECT_EQ(load(*child, at), text);
  EXPECT_NE(dram(after), text);
}

TEST_F(MktmePages, StayWhereTheyArePinned) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  SwapDevice swap{*board.kernel, board.add_device(64)};
  const VirtAddr at = encrypted_page(key);
  const auto pinned = process->pin_user_pages(at, 1, true).value();
  EXPECT_EQ(migrate_page(*process, at).error(), EBUSY);
  EXPECT_EQ(swap_out(*process, at, swap).error(), EBUSY);
  EXPECT_EQ(board.log.all<PageMoveRefused>().size(), 2u);
  process->unpin_user_pages(pinned, true);
  EXPECT_TRUE(migrate_page(*process, at));
}

TEST_F(MktmeAlternatives, TheDriverGivesEncryptedPagesThatAreNoMemoryToTheKernel) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const auto driver = std::make_shared<MktmeDriver>(*board.kernel, mktme->key_id(key), 2);
  const VirtAddr at = process->mmap_backed(driver, 0, 2 * page_size).value();
  ASSERT_TRUE(process->write(at, text));
  EXPECT_NE(dram(*process->page_at(at)), text);
  EXPECT_EQ(process->pin_user_pages(at, 1, true).error(), EFAULT);
  EXPECT_EQ(migrate_page(*process, at).error(), EINVAL);
  EXPECT_EQ(mktme->encrypt_mprotect(*process, at, page_size, prot_read_write, key).error(), EINVAL);
  const auto child = process->fork().value();
  ASSERT_TRUE(child->write(at, pattern_bytes(64, 9)));
  EXPECT_EQ(load(*process, at), pattern_bytes(64, 9));
}

TEST_F(MktmeAlternatives, AFilesStorageGetsPlainText) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const auto file =
      std::make_shared<CachedFile>(*board.kernel, pattern_bytes(page_size, 3), mktme->key_id(key));
  const VirtAddr at = process->mmap_backed(file, 0, page_size).value();
  EXPECT_EQ(load(*process, at, page_size), pattern_bytes(page_size, 3));
  ASSERT_TRUE(process->write(at, text));
  EXPECT_NE(dram(*process->page_at(at)), text);
  const PhysAddr moved = migrate_page(*process, at).value();
  EXPECT_EQ(file->page(0), moved);
  EXPECT_EQ(load(*process, at), text);
  ASSERT_TRUE(file->write_back());
  EXPECT_TRUE(std::ranges::equal(text, ConstByteSpan{file->storage()}.first(64)));
}

TEST_F(MktmeAlternatives, PersistentMemoryIsTheKeys) {
  const KeySerial a = mktme->add_key("a", cpu_key).value(), b = mktme->add_key("b", cpu_key).value();
  const mem::PhysRange frames{mm().page_allocator().allocate(1).value(), page_size};
  const auto map = [&](KeySerial key) {
    return process
        ->mmap_backed(std::make_shared<PmemFile>(*board.kernel, frames, mktme->key_id(key)), 0, page_size)
        .value();
  };
  VirtAddr at = map(a);
  ASSERT_TRUE(process->write(at, text));
  EXPECT_EQ(process->pin_user_pages(at, 1, true).error(), EOPNOTSUPP);
  ASSERT_TRUE(process->munmap(at, page_size));
  at = map(b);
  EXPECT_NE(load(*process, at), text);
  ASSERT_TRUE(process->munmap(at, page_size));
  at = map(a);
  EXPECT_EQ(load(*process, at), text);
}

// ---- protection keys ----

TEST_F(EncryptMprotect, ExcludesAProtectionKeyInTheSameCall) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = encrypted_page(key);
  const ProtectionKey pkey = process->pkey_alloc({}).value();
  const Process::MprotectKeys both{.pkey = pkey, .key_id = mktme->key_id(key)};
  EXPECT_EQ(process->mprotect_ext(at, page_size, prot_read_write, both).error(), EINVAL);
  EXPECT_EQ(load(*process, at), text);
  EXPECT_EQ(process->areas().find(at)->pkey, 0);
}

TEST_F(EncryptMprotect, AndPkeyMprotectLeaveEachOthersKeyAlone) {
  const KeySerial key = mktme->add_key("k", cpu_key).value();
  const VirtAddr at = process->mmap(page_size).value();
  const ProtectionKey pkey = process->pkey_alloc({}).value();
  ASSERT_TRUE(process->pkey_mprotect(at, page_size, prot_read_write, pkey));
  ASSERT_TRUE(mktme->encrypt_mprotect(*process, at, page_size, prot_read_write, key));
  EXPECT_EQ(process->areas().find(at)->pkey, pkey);
  ASSERT_TRUE(process->write(at, text));
  ASSERT_TRUE(process->pkey_mprotect(at, page_size, prot_read, 0));
  EXPECT_EQ(process->areas().find(at)->key.id(), mktme->key_id(key));
  EXPECT_EQ(load(*process, at), text);  // not zapped
}

}  // namespace
}  // namespace cbit::kernel
