#include "launch/qemu_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "launch/qemu_options.hpp"

namespace cbit::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Properties = std::vector<QemuProperty>;

QemuCommand parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "qemu-system-x86_64");
  const auto command = parse_qemu_command(words);
  EXPECT_TRUE(command) << command.error().message;
  return command.value_or(QemuCommand{});
}

Properties properties(const std::string& option, const std::string& argument) {
  const QemuCommand command = parsed({option, argument});
  return command.options.size() == 1 ? command.options[0].properties : Properties{{"no", "option"}};
}

Error refused(std::vector<std::string> words) {
  const auto command = parse_qemu_command(words);
  EXPECT_FALSE(command);
  return command ? Error{} : command.error();
}

TEST(QemuCommand, TakesPropertiesApart) {
  EXPECT_EQ(properties("-device", "virtio-blk-pci,drive=d0,bootindex=1"),
            (Properties{{"driver", "virtio-blk-pci"}, {"drive", "d0"}, {"bootindex", "1"}}));
  EXPECT_EQ(properties("-drive", "file=a,,b.img,if=none"), (Properties{{"file", "a,b.img"}, {"if", "none"}}));
  EXPECT_EQ(properties("-m", "4G"), (Properties{{"size", "4G"}}));
  EXPECT_EQ(properties("-smp", "4,maxcpus=8"), (Properties{{"cpus", "4"}, {"maxcpus", "8"}}));
  EXPECT_EQ(properties("-M", "type=q35"), (Properties{{"type", "q35"}}));
}

TEST(QemuCommand, KnowsFlagsAsQemuDoes) {
  EXPECT_EQ(properties("-chardev", "socket,path=s,server,nowait"),
            (Properties{{"backend", "socket"}, {"path", "s"}, {"server", "on"}, {"wait", "off"}}));
}

TEST(QemuCommand, TakesJsonApart) {
  EXPECT_EQ(properties("-device", R"({"driver":"nvme","drive":"d","rombar":0,"multifunction":true})"),
            (Properties{{"driver", "nvme"}, {"drive", "d"}, {"rombar", "0"}, {"multifunction", "on"}}));
  EXPECT_EQ(
      properties("-blockdev", R"({"driver":"qcow2","file":{"driver":"file","filename":"a,b"},"x":[1,2]})"),
      (Properties{{"driver", "qcow2"},
                  {"file.driver", "file"},
                  {"file.filename", "a,b"},
                  {"x.0", "1"},
                  {"x.1", "2"}}));
}

TEST(QemuCommand, TakesCpuFeaturesApart) {
  EXPECT_EQ(
      properties("-cpu", "EPYC-v4,+avx,-sse4_1,phys-bits=48,check"),
      (Properties{
          {"model", "EPYC-v4"}, {"avx", "on"}, {"sse4-1", "off"}, {"phys-bits", "48"}, {"check", "on"}}));
}

TEST(QemuCommand, TakesGlobalsApart) {
  const Properties right{{"driver", "virtio-pci"}, {"property", "disable-legacy"}, {"value", "on"}};
  EXPECT_EQ(properties("-global", "virtio-pci.disable-legacy=on"), right);
  EXPECT_EQ(properties("-global", "driver=virtio-pci,property=disable-legacy,value=on"), right);
}

TEST(QemuCommand, AcceptsTwoDashesAndBareImages) {
  const QemuCommand command = parsed({"--nographic", "-append", "-S quiet", "disk.img"});
  ASSERT_THAT(command.options, SizeIs(3));
  EXPECT_EQ(command.options[0].name, "nographic");
  EXPECT_EQ(command.options[1].text, "-S quiet");
  EXPECT_EQ(command.options[2], (QemuOption{"hda", {}, "disk.img"}));
}

TEST(QemuCommand, LeavesOutWhatStandsBeforeQemu) {
  const std::vector<std::string> words{
      "sudo", "LC_ALL=C", "numactl", "-N", "0", "/usr/bin/qemu-system-x86_64", "-S"};
  const auto command = parse_qemu_command(words);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->program, "/usr/bin/qemu-system-x86_64");
  EXPECT_THAT(command->options, SizeIs(1));
}

TEST(QemuCommand, AnswersWithTheLastValue) {
  const QemuCommand command =
      parsed({"-machine", "q35,smm=on", "-machine", "smm=off", "-S", "-device", "a", "-device", "b"});
  EXPECT_EQ(command.value("machine", "smm"), "off");
  EXPECT_EQ(command.value("machine", "type"), "q35");
  EXPECT_EQ(command.value("machine", "x"), std::nullopt);
  EXPECT_THAT(command.all("device"), SizeIs(2));
  EXPECT_EQ(command.last("device")->value("driver"), "b");
  EXPECT_EQ(command.last("drive"), nullptr);
}

TEST(QemuCommand, NamesAnUnknownOptionAndSimilarOnes) {
  const Error error = refused({"qemu-system-x86_64", "-devcie", "x"});
  EXPECT_EQ(error.message, "QEMU has no option -devcie");
  EXPECT_THAT(error.hint, HasSubstr("-device"));
  EXPECT_THAT(refused({"qemu-system-x86_64", "-" + std::string(5000, 'x')}).hint, HasSubstr("-help"));
}

TEST(QemuCommand, RefusesWhatCannotBeRead) {
  EXPECT_THAT(refused({"qemu-system-x86_64", "-m"}).message, HasSubstr("the argument of -m is missing"));
  EXPECT_THAT(refused({"ls", "-l"}).message, HasSubstr("names no QEMU"));
  EXPECT_THAT(refused({}).message, HasSubstr("names no QEMU"));
  EXPECT_THAT(refused({"qemu-system-aarch64", "-m", "1"}).message, HasSubstr("not QEMU for x86"));
  EXPECT_THAT(refused({"kvm", "-device", "{\"driver\":"}).message, HasSubstr("no JSON object"));
  EXPECT_THAT(refused({"kvm", "-device", R"({"a=b":1})"}).message, HasSubstr("no property's name"));
  EXPECT_THAT(refused({"kvm", "-cpu", "host,+a=1"}).message, HasSubstr("sign and a value"));
  EXPECT_THAT(refused({"kvm", "-cpu", "host,++a"}).message, HasSubstr("begins with two signs"));
  EXPECT_THAT(refused({"kvm", "-cpu", "host,_a"}).message, HasSubstr("begins with an underscore"));
  EXPECT_THAT(refused({"kvm", "-global", "a.b"}).message, HasSubstr("without a value"));
  std::string deep = "1";
  for (int level = 0; level < 40; ++level) deep = "{\"a\":" + deep + "}";
  EXPECT_THAT(refused({"kvm", "-object", deep}).message, HasSubstr("16 levels"));
}

// Words that QEMU's own documentation and libvirt write.
TEST(QemuCommand, IsMadeOfItsWordsAgain) {
  const std::vector<std::vector<std::string>> lines{
      {"-object", R"({"qom-type":"secret","id":"masterKey0","format":"raw","file":"/a,b"})"},
      {"-device", "driver=,foo"},
      {"-device", ""},
      {"-device", "a=b"},
      {"-cpu", ""},
      {"-cpu", ","},
      {"-cpu", ",+x"},
      {"-global", "a.b=c,d=e"},
      {"-global", ".a=b,c"},
      {"-drive", ",=x,nofoo"},
      {"-object", "driver={x}"},
      {"-device", "driver={x}"}};
  for (const auto& line : lines) {
    const QemuCommand command = parsed(line);
    const auto again = parse_qemu_command(to_words(command));
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, command) << line[0] << ' ' << line[1];
  }
}

TEST(QemuOptions, AreEachThereOnce) {
  for (const QemuOptionSpec& spec : qemu_option_specs())
    EXPECT_EQ(find_qemu_option(spec.name), &spec) << spec.name;
}

}  // namespace
}  // namespace cbit::launch
