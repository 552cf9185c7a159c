// A guest that lies: its kernel calls what is probed with any arguments, from any stack, while its structures
// hold anything. Every event ends up with the sink, and nothing grows without end.
#include <cstdlib>
#include <memory>
#include <set>

#include "fuzz_input.hpp"
#include "linux/probes/probes.hpp"
#include "support/linux/test_kernel.hpp"

namespace {

using namespace cbit;
using linux::CpuView;
using test::Style;
using test::TestKernel;

constexpr std::uint64_t slide = 0x1560'0000;
constexpr VirtAddr area{0xffff'8880'0100'0000};  // its structures
constexpr std::uint64_t area_bytes = 0x4000;
constexpr VirtAddr stack{0xffff'c900'0001'2000};
constexpr unsigned steps_max = 200;

class HostileGuest : public linux::CallTracker::Processor, public linux::Observer, public EventSink {
 public:
  HostileGuest(const TestKernel& kernel, FuzzInput& input) : kernel_{&kernel}, input_{&input} {
    kernel.load_into(guest_, slide);
    guest_.write(area, Bytes(area_bytes));
    guest_.write(stack, Bytes(0x2000));
    tracer_.attach(*this);
    probes_ = std::make_unique<linux::Probes>(kernel.kernel(), tracer_, *this, *this);
    execute(kernel.at("x86_64_start_kernel") + slide, stack);
  }
  ~HostileGuest() override { tracer_.detach(*this); }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) act();
    probes_->finish();
    if (probes_->running() != nullptr)
      (void)probes_->running()->describe(VirtAddr{input_->take<std::uint64_t>()});
  }

  void add_probe(VirtAddr at) override { probed_.insert(at); }
  void remove_probe(VirtAddr at) override { probed_.erase(at); }
  void on_event(const Event& event) override {
    std::visit([](const auto& payload) { payload.visit([](auto&&...) {}); }, event.payload);
  }

 private:
  void act() {
    switch (input_->below(6)) {
      case 0: return guest_.put(area + input_->take<std::uint16_t>() % area_bytes, word());
      case 1: return guest_.put(kernel_->at("io_tlb_default_mem") + slide + input_->byte(), word());
      case 2: return call();
      case 3: return execute(VirtAddr{return_to()}, stack + 8 * input_->byte());
      case 4: return probes_->check_progress(cpu_, input_->take<std::uint64_t>());
      default: return input_->byte() == 0 ? probes_->reset() : call();
    }
  }

  // Something that the kernel's structures point to, or nonsense.
  std::uint64_t word() {
    switch (input_->below(5)) {
      case 0: return area.value() + input_->take<std::uint16_t>() % area_bytes;
      case 1: return (kernel_->at("pci_bus_type") + slide).value();
      case 2: return input_->byte();
      case 3: return ~std::uint64_t{0};
      default: return input_->take<std::uint64_t>();
    }
  }
  std::uint64_t return_to() { return (kernel_->at("driver_queue") + slide + input_->byte()).value(); }

  void call() {
    const VirtAddr sp = stack + 8 * input_->byte();
    if (probed_.empty()) return;
    auto function = probed_.begin();
    std::advance(function, input_->take<std::uint16_t>() % probed_.size());
    guest_.put(sp, return_to());
    for (const auto reg : {CpuView::rdi, CpuView::rsi, CpuView::rdx, CpuView::rcx, CpuView::r8, CpuView::r9})
      cpu_.gpr[reg] = word();
    execute(*function, sp);
  }
  void execute(VirtAddr rip, VirtAddr sp) {
    cpu_.rip = rip.value();
    cpu_.gpr[CpuView::rsp] = sp.value();
    cpu_.gpr[CpuView::rax] = word();
    if (probed_.contains(rip)) probes_->on_execute(cpu_);
  }

  const TestKernel* kernel_;
  FuzzInput* input_;
  test::FakeGuest guest_;
  Clock clock_;
  Tracer tracer_{clock_};
  CpuView cpu_{.memory = &guest_};
  std::set<VirtAddr> probed_;
  std::unique_ptr<linux::Probes> probes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input{data, size};
  const auto style = static_cast<Style>(input.below(3));
  HostileGuest{TestKernel::of(style), input}.run();
  return 0;
}
