#include "testbed/views.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace cbit::testbed {
namespace {

constexpr KeyId guest = 2;
constexpr PhysAddr at{0x5000};

class ViewsTest : public testing::Test {
 protected:
  ViewsTest() {
    keys.set_derived(guest, "asid 1");
    memory = mem::Memory::create({.ram = {{PhysAddr{0}, 1 << 20}}}, keys, tracer).value();
  }
  void write(const Bytes& bytes, KeyId key, PhysAddr to = at) {
    ASSERT_TRUE(memory->write(to, bytes, {{AgentKind::cpu, 0}, key}));
  }
  Sees judge(KeyId observer, PhysAddr from = at) {
    return classify(View::of_memory(*memory, from, data.size(), observer, guest), data, old);
  }

  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{3, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory;
  Bytes data = authored_bytes(Author::cpu, 200);
  Bytes old = authored_bytes(Author::before, 200);
};

TEST_F(ViewsTest, TheOwnerSeesPlaintextAndTheHostCiphertext) {
  write(data, guest);
  EXPECT_EQ(judge(guest), Sees::plaintext);
  EXPECT_EQ(judge(no_key), Sees::ciphertext);
}

TEST_F(ViewsTest, CiphertextOfTheOldContentsIsCiphertextToo) {
  write(old, guest);
  EXPECT_EQ(judge(guest), Sees::old);
  EXPECT_EQ(judge(no_key), Sees::ciphertext);
}

TEST_F(ViewsTest, PlainDataReadThroughAKeyIsNoise) {
  write(data, no_key);
  EXPECT_EQ(judge(no_key), Sees::plaintext);
  EXPECT_EQ(judge(guest), Sees::noise);
}

TEST_F(ViewsTest, AMovedCiphertextIsNoiseToItsOwner) {
  write(data, guest);
  Bytes raw(208);
  ASSERT_TRUE(memory->probe(at, raw));
  write(raw, no_key, PhysAddr{0x9000});
  EXPECT_EQ(judge(guest, PhysAddr{0x9000}), Sees::noise);
}

TEST_F(ViewsTest, ABlockOfBothPartiesIsMixedAndItsCiphertextIsCiphertext) {
  Bytes both = old;
  std::copy_n(data.begin(), 100, both.begin());
  write(both, guest);
  EXPECT_EQ(judge(guest), Sees::mixed);
  EXPECT_EQ(judge(no_key), Sees::ciphertext);
}

TEST_F(ViewsTest, NothingWrittenIsZerosAndNoMemoryIsNothing) {
  EXPECT_EQ(judge(no_key), Sees::zeros);
  EXPECT_EQ(judge(no_key, PhysAddr{2 << 20}), Sees::none);
}

TEST(AuthoredBytes, TellEveryAuthorByEveryByteAndEveryBlockFromEveryOther) {
  const Bytes cpu = authored_bytes(Author::cpu, 1 << 16);
  const Bytes device = authored_bytes(Author::device, 1 << 16);
  const Bytes before = authored_bytes(Author::before, 1 << 16);
  std::set<std::string> blocks;
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    ASSERT_TRUE(cpu[i] != device[i] && cpu[i] != before[i] && device[i] != before[i]) << i;
    if (i % 16 == 0) blocks.insert(to_hex(ConstByteSpan{cpu}.subspan(i, 16)));
  }
  EXPECT_EQ(blocks.size(), cpu.size() / 16);
}

}  // namespace
}  // namespace cbit::testbed
