// Types of a kernel and of a module: where members lie, and what functions take.
#include "linux/btf.hpp"

#include <gtest/gtest.h>

#include "support/linux/btf_writer.hpp"

namespace cbit::linux {
namespace {

using test::BtfWriter;
using test::ByteWriter;

// struct inner { u32 a; char tail[3]; };
// struct device { u64 id; struct inner in; struct { u64 mask; union { u32 low; u64 whole; }; };
//                 bool armed : 1, dead : 1; struct device *parent; enum state state; };
struct Types {
  Types() {
    u32 = writer.integer("unsigned int", 4);
    u64 = writer.alias("u64", writer.integer("unsigned long long", 8));
    boolean = writer.integer("_Bool", 1, 4);
    const auto tail = writer.array(writer.integer("char", 1, 1), 3);
    const auto inner = writer.structure("inner", 8, {{"a", u32, 0}, {"tail", tail, 32}});
    const auto choice = writer.union_type("", 8, {{"low", u32, 0}, {"whole", u64, 0}});
    const auto unnamed = writer.structure("", 16, {{"mask", u64, 0}, {"", choice, 64}});
    const auto itself = writer.pointer(writer.next_id() + 2 /* device */);
    const auto state = writer.enumeration("state", "running");
    device = writer.structure("device", 64,
                              {{"id", u64, 0},
                               {"in", inner, 64},
                               {"", unnamed, 128},
                               {"armed", boolean, 256, 1},
                               {"dead", boolean, 257, 1},
                               {"parent", itself, 320},
                               {"state", state, 384}});
    pointer = itself;
    writer.alias("device_t", device);
    writer.function("map", writer.alias("", u64, 10), {{"dev", itself}, {"size", u64}, {"dir", state}});
    writer.function("stop", 0, {});
  }
  BtfWriter writer;
  std::uint32_t u32 = 0, u64 = 0, boolean = 0, device = 0, pointer = 0;
};

std::uint64_t offset_of(const Btf& btf, std::string_view path) {
  const auto field = btf.field("device", path);
  return field ? field->offset() : 9999;
}

TEST(Btf, SaysWhereAMemberLies) {
  Types types;
  const Bytes section = types.writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf) << btf.error().message;
  EXPECT_EQ(offset_of(*btf, "id"), 0u);
  EXPECT_EQ(offset_of(*btf, "in"), 8u);
  EXPECT_EQ(offset_of(*btf, "in.a"), 8u);
  EXPECT_EQ(offset_of(*btf, "in.tail"), 12u);
  EXPECT_EQ(offset_of(*btf, "parent"), 40u);
  EXPECT_EQ(btf->field("device", "id")->bytes(), 8u);
  EXPECT_EQ(btf->field("device", "in.tail")->bytes(), 3u);
  EXPECT_EQ(btf->field("device_t", "parent")->offset(), 40u) << "through a typedef";
  EXPECT_EQ(btf->size_of("device"), 64u);
}

TEST(Btf, SeesThroughUnnamedStructuresAndUnions) {
  Types types;
  const Bytes section = types.writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf);
  EXPECT_EQ(offset_of(*btf, "mask"), 16u);
  EXPECT_EQ(offset_of(*btf, "low"), 24u);
  EXPECT_EQ(offset_of(*btf, "whole"), 24u);
  EXPECT_EQ(btf->field("device", "low")->bytes(), 4u);
}

TEST(Btf, TellsBitFieldsFromBytes) {
  Types types;
  const Bytes section = types.writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf);
  const auto dead = btf->field("device", "dead");
  ASSERT_TRUE(dead);
  EXPECT_TRUE(dead->bit_field);
  EXPECT_EQ(dead->bit_offset, 257u);
  EXPECT_EQ(dead->bits, 1u);
  EXPECT_FALSE(btf->field("device", "id")->bit_field);
}

TEST(Btf, HasNoMembersThatAreNotThere) {
  Types types;
  const Bytes section = types.writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf);
  EXPECT_FALSE(btf->field("device", "nothing"));
  EXPECT_FALSE(btf->field("device", "id.more"));
  EXPECT_FALSE(btf->field("device", "parent.id")) << "a pointer is no structure";
  EXPECT_FALSE(btf->field("device", ""));
  EXPECT_FALSE(btf->field("nothing", "id"));
  EXPECT_FALSE(btf->size_of("nothing"));
}

TEST(Btf, SaysWhatAFunctionTakesAndReturns) {
  Types types;
  const Bytes section = types.writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf);
  const auto map = btf->function("map");
  ASSERT_TRUE(map);
  EXPECT_EQ(map->parameters.size(), 3u);
  EXPECT_EQ(map->position("dir"), 2u);
  EXPECT_EQ(map->position("attrs"), std::nullopt);
  EXPECT_TRUE(btf->scalar(map->parameters[0].type)->is_pointer);
  EXPECT_EQ(btf->scalar(map->parameters[2].type)->bytes, 4u);
  EXPECT_EQ(btf->scalar(map->returns)->bytes, 8u) << "through const and typedef";
  EXPECT_TRUE(btf->scalar(types.boolean)->is_bool);
  EXPECT_FALSE(btf->scalar(types.device));
  EXPECT_FALSE(btf->scalar(btf->function("stop")->returns));
  EXPECT_FALSE(btf->function("device"));
  EXPECT_EQ(btf->enumerator("state", "running"), 1u);
  EXPECT_FALSE(btf->enumerator("state", "nothing"));
  EXPECT_FALSE(btf->enumerator("device", "running"));
}

TEST(Btf, OfAModuleContinuesItsKernels) {
  Types types;
  const Bytes section = types.writer.section();
  const auto kernel = Btf::open(section, "vmlinux");
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->end(), types.writer.next_id());
  BtfWriter writer{types.writer.next_id(), types.writer.next_text()};
  writer.structure("queue", 72, {{"dev", types.device, 64}});
  writer.function("queue_add", types.u32, {{"q", types.pointer}});
  const Bytes more = writer.section();
  const auto module = Btf::open_module(more, *kernel, "module.ko");
  ASSERT_TRUE(module);
  EXPECT_EQ(module->field("queue", "dev.parent")->offset(), 48u);
  EXPECT_EQ(module->field("device", "parent")->offset(), 40u);
  EXPECT_EQ(module->function("queue_add")->position("q"), 0u);
  EXPECT_EQ(module->function("map")->position("size"), 1u);
  EXPECT_FALSE(kernel->size_of("queue"));
}

TEST(Btf, SkipsAKindThatItDoesNotKnowButOnlyIfTheFileSaysHowLongItIs) {
  BtfWriter writer;
  writer.add("new", 20, false, 2, 0, Bytes(4 + 2 * 8));
  writer.structure("behind", 24, {});
  const Bytes plain = writer.section();
  EXPECT_FALSE(Btf::open(plain, "vmlinux"));
  // struct btf_header of 7.3 has two more fields; the layout section follows the texts.
  const auto type_bytes = load<std::uint32_t>(plain, 12), text_bytes = load<std::uint32_t>(plain, 20);
  ByteWriter longer;
  longer.append(ConstByteSpan{plain}.first(4))
      .put(std::uint32_t{32})
      .append(ConstByteSpan{plain}.subspan(8, 16));
  longer.put(type_bytes + text_bytes).put(std::uint32_t{21 * 4}).append(ConstByteSpan{plain}.subspan(24));
  longer.append(Bytes(20 * 4)).put(std::uint8_t{4}).put(std::uint8_t{8}).put(std::uint16_t{0});
  const auto btf = Btf::open(longer.bytes(), "vmlinux");
  ASSERT_TRUE(btf) << btf.error().message;
  EXPECT_EQ(btf->size_of("behind"), 24u);
}

TEST(Btf, IsRefusedWhereItIsDamaged) {
  Types types;
  const Bytes section = types.writer.section();
  EXPECT_EQ(Btf::open({}, "vmlinux").error().message, "vmlinux: its BTF is missing or of an unknown version");
  EXPECT_EQ(Btf::open(ConstByteSpan{section}.first(section.size() - 1), "vmlinux").error().message,
            "vmlinux: its BTF is cut off");
  Bytes cut = section;
  store(cut, 12, load<std::uint32_t>(section, 12) - 4);  // type_len
  EXPECT_EQ(Btf::open(cut, "vmlinux").error().message,
            "vmlinux: its BTF has a type that is not all there, or not known");
}

TEST(Btf, EndsWhereTypesContainThemselves) {
  BtfWriter writer;
  const auto loop = writer.next_id();
  std::vector<BtfWriter::Member> members(8, {"", loop, 0});
  writer.structure("loop", 8, members);
  writer.alias("chain", writer.next_id());
  const auto rows = writer.next_id();
  writer.array(rows, 1000);
  writer.structure("big", 8, {{"rows", rows, 0}});
  const Bytes section = writer.section();
  const auto btf = Btf::open(section, "vmlinux");
  ASSERT_TRUE(btf);
  EXPECT_FALSE(btf->field("loop", "nothing"));
  EXPECT_FALSE(btf->field("chain", "nothing"));
  EXPECT_FALSE(btf->size_of(rows));
  EXPECT_FALSE(btf->size_of("chain"));
  EXPECT_EQ(btf->field("big", "rows")->bytes(), 0u);
}

}  // namespace
}  // namespace cbit::linux
