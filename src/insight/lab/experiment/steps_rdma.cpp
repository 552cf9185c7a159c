// Processes with memory regions, an RDMA NIC, and a peer that uses it.
#include <fmt/format.h>

#include <algorithm>

#include "base/format.hpp"
#include "lab/experiment/expect.hpp"
#include "lab/experiment/rdma_run.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

OrError<std::size_t> parse_nic(const StepParser& step) { return step.device(rdma_kind); }

tl::unexpected<StepTrouble> trouble(kernel::Errno error) {
  return trouble_in_step(std::string{kernel::errno_name(error)});
}

OrError<std::size_t> parse_process(StepParser& step, std::string_view key) {
  return step.names.parts.get<ProcessNames>().table.get(step.keys, key);
}

// ---- process, mmap, alloc-buf ----------------------------------------------------------------------------

constexpr std::string_view process_keys[] = {"name", "memlock", "cap-ipc-lock"};

OrError<Action> parse_new_process(StepParser& step) {
  kernel::Process::Limits limits;
  limits.memlock_bytes =
      CBIT_TRY(step.keys.number("memlock", 0, bit_mask(48))).value_or(limits.memlock_bytes);
  limits.cap_ipc_lock = CBIT_TRY(step.keys.flag("cap-ipc-lock")).value_or(false);
  const std::string name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  const std::size_t id = CBIT_TRY(step.names.parts.get<ProcessNames>().table.add(step.keys, {name}));
  return [=](Run& run) -> StepResult {
    auto made = kernel::Process::create(run.kernel(), limits);
    if (!made) return trouble(kernel::Errno{made.error()});
    run.part<RdmaRun>().processes[id] = std::move(*made);
    return std::string{"a process"};
  };
}

constexpr std::string_view mmap_keys[] = {"name", "process", "size"};

OrError<Action> parse_mmap(StepParser& step) {
  const std::size_t process = CBIT_TRY(parse_process(step, "process"));
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  const std::size_t buffer = CBIT_TRY(step.new_buffer(BufferKind::user, bytes));
  return [=](Run& run) -> StepResult {
    kernel::Process& owner = *CBIT_TRY(run.part<RdmaRun>().process(process));
    const auto at = owner.mmap(bytes);
    if (!at) return trouble(kernel::Errno{at.error()});
    CBIT_TRY(adopt_user_memory(run, buffer, owner, *at, bytes));
    return fmt::format("{} bytes at {}", bytes, *at);
  };
}

constexpr std::string_view alloc_buf_keys[] = {"name", "device", "size"};

OrError<Action> parse_alloc_buf(StepParser& step) {
  const std::size_t device = CBIT_TRY(parse_nic(step));
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  const std::size_t buffer = CBIT_TRY(step.new_buffer(BufferKind::user, bytes));
  return [=](Run& run) -> StepResult {
    RdmaRun::Nic& nic = *CBIT_TRY(run.part<RdmaRun>().open_nic(device));
    const auto made = nic.verbs->ibv_alloc_buf(nic.pd, bytes);
    if (!made) return trouble(made.error());
    run.part<RdmaRun>().shared[buffer] = *made;
    CBIT_TRY(adopt_user_memory(run, buffer, nic.verbs->process(), made->addr, bytes));
    return fmt::format("{} bytes at {}{}", bytes, made->addr,
                       made->cc_shared ? ", shared with the host" : "");
  };
}

// ---- rdma-open -------------------------------------------------------------------------------------------

constexpr std::string_view open_keys[] = {"device", "process", "cq-entries", "cq-memory", "path-mtu"};
constexpr Word<CqMemory> cq_memory_words[] = {{"coherent", CqMemory::coherent}, {"user", CqMemory::user}};

struct OpenRequest {
  std::size_t device = 0;
  std::size_t process = 0;
  std::uint32_t cq_entries = 64;
  CqMemory cq_memory{};
  ibv_mtu mtu = IBV_MTU_4096;
};

Result<void, kernel::Errno> to_rts(RdmaRun::Nic& nic, ibv_mtu mtu) {
  ibv_qp_attr attr{
      .qp_state = IBV_QPS_INIT,
      .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC,
      .ah_attr = nic.peer->address(),
      .path_mtu = mtu,
      .dest_qp_num = nic.peer->qp()};
  kernel::IbvContext& verbs = *nic.verbs;
  CBIT_TRY(verbs.ibv_modify_qp(nic.qp, attr,
                               IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
  attr.qp_state = IBV_QPS_RTR;
  CBIT_TRY(verbs.ibv_modify_qp(nic.qp, attr,
                               IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                   IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
  attr.qp_state = IBV_QPS_RTS;
  CBIT_TRY(verbs.ibv_modify_qp(nic.qp, attr,
                               IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                   IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
  nic.peer->connect(verbs.port_address(), nic.qp, mtu);
  return {};
}

Result<void, kernel::Errno> open(RdmaRun::Nic& nic, kernel::Process& process, paging::Mmu& cpu,
                                 const OpenRequest& request) {
  nic.verbs.emplace(nic.ib(), process, cpu);
  nic.pd = CBIT_TRY(nic.verbs->ibv_alloc_parent_domain(nic.verbs->ibv_alloc_pd(), true));
  nic.cq = CBIT_TRY(nic.verbs->ibv_create_cq(request.cq_entries, request.cq_memory));
  nic.qp = CBIT_TRY(nic.verbs->ibv_create_qp(nic.pd, {.send_cq = nic.cq, .recv_cq = nic.cq}));
  return to_rts(nic, request.mtu);
}

OrError<ibv_mtu> parse_mtu(const StepParser& step) {
  const auto bytes = CBIT_TRY(step.keys.number("path-mtu", 256, 4096)).value_or(4096);
  for (const ibv_mtu mtu : {IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048, IBV_MTU_4096})
    if (bytes_of_mtu(mtu) == bytes) return mtu;
  return step.keys.error("path-mtu", fmt::format("there is no path MTU of {} bytes", bytes),
                         "use 256, 512, 1024, 2048 or 4096");
}

OrError<Action> parse_open(StepParser& step) {
  OpenRequest request;
  request.device = CBIT_TRY(parse_nic(step));
  request.process = CBIT_TRY(parse_process(step, "process"));
  request.cq_entries = static_cast<std::uint32_t>(
      CBIT_TRY(step.keys.number("cq-entries", 1, 65536)).value_or(request.cq_entries));
  request.cq_memory = CBIT_TRY(step.keys.word("cq-memory", cq_memory_words)).value_or(CqMemory::coherent);
  request.mtu = CBIT_TRY(parse_mtu(step));
  return [request](Run& run) -> StepResult {
    RdmaRun& rdma = run.part<RdmaRun>();
    RdmaRun::Nic& nic = rdma.nics.at(request.device);
    if (nic.verbs) return trouble_in_step("-EBUSY: a process has opened the device");
    kernel::Process& owner = *CBIT_TRY(rdma.process(request.process));
    const auto done = open(nic, owner, run.kernel().cpu(0), request);
    if (!done) {
      nic.verbs.reset();
      return trouble(done.error());
    }
    const std::uint64_t caps = nic.verbs->ibv_query_device_ex().device_cap_flags_ex;
    return fmt::format("queue pair {}, device_cap_flags_ex {:#x}", nic.qp, caps);
  };
}

// ---- reg-mr, dereg-mr ------------------------------------------------------------------------------------

constexpr std::string_view reg_keys[] = {"name", "device", "buffer", "offset", "length", "access"};
constexpr Word<unsigned> access_words[] = {
    {"local-write", IBV_ACCESS_LOCAL_WRITE}, {"remote-write", IBV_ACCESS_REMOTE_WRITE},
    {"remote-read", IBV_ACCESS_REMOTE_READ}, {"remote-atomic", IBV_ACCESS_REMOTE_ATOMIC},
    {"on-demand", IBV_ACCESS_ON_DEMAND},     {"relaxed-ordering", IBV_ACCESS_RELAXED_ORDERING}};

OrError<unsigned> parse_access(const StepParser& step) {
  return CBIT_TRY(step.keys.flags("access", access_words))
      .value_or(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
}

Result<ibv_mr, kernel::Errno> register_region(Run& run, RdmaRun::Nic& nic, const Part& part,
                                              unsigned access) {
  const auto shared = run.part<RdmaRun>().shared.find(part.buffer);
  if (shared != run.part<RdmaRun>().shared.end())
    return nic.verbs->ibv_reg_buf_mr(nic.pd, shared->second, access);
  return nic.verbs->ibv_reg_mr(nic.pd, run.buffer(part.buffer).at + part.range.offset, part.range.bytes,
                               access);
}

// The application's pages behind a region; contiguous ones are one entry.
std::vector<kernel::ScatterEntry> pages_behind(const Run::Buffer& memory, const Range& range) {
  std::vector<kernel::ScatterEntry> pages;
  for (std::uint64_t done = 0; done < range.bytes;) {
    const PhysAddr at = memory.phys(range.offset + done);
    const std::uint64_t n = std::min(range.bytes - done, memory.run_length(range.offset + done));
    if (!pages.empty() && pages.back().phys + pages.back().length == at)
      pages.back().length += n;
    else
      pages.push_back({.phys = at, .length = n});
    done += n;
  }
  return pages;
}

void note_region(Run& run, RdmaRun::Nic& nic, const ibv_mr& mr, const Part& part, Run::Mapping& mapping) {
  mapping.made = true;
  mapping.bounces.resize(1);
  // Software RDMA is the CPU's work: its addresses are the kernel's.
  if (!nic.ib().ib_uses_virt_dma()) mapping.sg = pages_behind(run.buffer(part.buffer), part.range);
  for (const dev::rdma::Segment& segment : nic.ib().engine().regions().find(mr.lkey)->segments)
    mapping.segments.push_back({DmaAddr{segment.at}, segment.bytes});
  const kernel::DmaReach reach = nic.ib().reach(mapping.segments.front().at);
  mapping.path = reach.path;
  mapping.encrypted = reach.encrypted;
  if (reach.path == DmaPath::swiotlb) mapping.bounces.front() = PhysAddr{mapping.segments.front().at.value()};
  for (const SwiotlbAllocated& slots : run.happened().slots) mapping.slots += slots.slots;
  if (!run.happened().slots.empty()) mapping.first_slot = run.happened().slots.front().slot;
}

OrError<Action> parse_reg(StepParser& step) {
  MappingName name{.how = MapHow::region, .direction = DmaDirection::bidirectional};
  name.name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  name.device = CBIT_TRY(parse_nic(step));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const BufferName& memory = step.names.buffers[buffer];
  if (memory.kind != BufferKind::user)
    return step.keys.error("buffer", fmt::format("\"{}\" is not the memory of a process", memory.name),
                           "name a buffer of mmap or alloc-buf");
  const Range range = CBIT_TRY(step.range(memory.bytes));
  name.parts = {{buffer, range}};
  name.bytes = range.bytes;
  const unsigned access = CBIT_TRY(parse_access(step));
  const Part part = name.parts.front();
  const std::size_t device = name.device;
  const std::size_t id = CBIT_TRY(step.names.mappings.add(step.keys, std::move(name)));
  return [=](Run& run) -> StepResult {
    CBIT_TRY(run.live_buffer(part.buffer));
    RdmaRun::Nic& nic = *CBIT_TRY(run.part<RdmaRun>().open_nic(device));
    const auto mr = register_region(run, nic, part, access);
    if (!mr) return trouble(mr.error());
    run.part<RdmaRun>().regions[id] = {device, *mr, true};
    note_region(run, nic, *mr, part, run.mapping(id));
    return fmt::format("lkey {:#x} rkey {:#x}, {}, {}", mr->lkey, mr->rkey,
                       run.mapping(id).segments.front().at, to_string(run.mapping(id).path));
  };
}

OrError<std::size_t> parse_region(const StepParser& step) {
  const std::size_t id = CBIT_TRY(step.mapping("mr"));
  if (step.names.mappings[id].how == MapHow::region) return id;
  return step.keys.error("mr", "this is a mapping of the DMA API, no memory region", "name one of reg-mr");
}

Result<RdmaRun::Region*, StepTrouble> region_of(Run& run, std::size_t mapping) {
  RdmaRun& rdma = run.part<RdmaRun>();
  const auto found = rdma.regions.find(mapping);
  if (found == rdma.regions.end()) return trouble_in_step("the region does not exist: reg-mr failed");
  return &found->second;
}

constexpr std::string_view dereg_keys[] = {"mr"};

OrError<Action> parse_dereg(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_region(step));
  return [=](Run& run) -> StepResult {
    RdmaRun::Region& region = *CBIT_TRY(region_of(run, id));
    const auto done = run.part<RdmaRun>().nics.at(region.device).verbs->ibv_dereg_mr(region.mr);
    if (!done) return trouble(done.error());
    run.mapping(id).ended = true;
    return std::string{"unmapped and unpinned"};
  };
}

// ---- the peer's requests ---------------------------------------------------------------------------------

struct PeerRequest {
  std::size_t mapping = 0;
  StepParser::Contents contents{{}, Data{testbed::Author::device}};
  std::uint64_t address_offset = 0;
  std::uint32_t rkey_offset = 0;
};

constexpr std::string_view peer_keys[] = {"mr", "data", "offset", "length", "address-offset", "rkey-offset"};

OrError<PeerRequest> parse_peer_request(StepParser& step) {
  PeerRequest request;
  request.mapping = CBIT_TRY(parse_region(step));
  auto contents =
      CBIT_TRY(step.contents(step.names.mappings[request.mapping].bytes, testbed::Author::device, false));
  if (contents.range.bytes > testbed::RdmaPeer::memory_bytes)
    return step.keys.error("length", "the peer has 1M of memory", "use a shorter transfer");
  request.contents = std::move(contents);
  request.address_offset = CBIT_TRY(step.keys.number("address-offset", 0, bit_mask(63))).value_or(0);
  request.rkey_offset =
      static_cast<std::uint32_t>(CBIT_TRY(step.keys.number("rkey-offset", 0, 0xffff)).value_or(0));
  return request;
}

StepResult perform(Run& run, const PeerRequest& request, ibv_wr_opcode opcode) {
  const RdmaRun::Region& region = *CBIT_TRY(region_of(run, request.mapping));
  testbed::RdmaPeer& peer = *run.part<RdmaRun>().nics.at(region.device).peer;
  const ibv_wc_status status =
      peer.request(opcode, region.mr.addr.value() + request.contents.range.offset + request.address_offset,
                   region.mr.rkey + request.rkey_offset, request.contents.range.bytes);
  if (status != IBV_WC_SUCCESS) return trouble_in_step(std::string{ibv_wc_status_str(status)});
  return fmt::format("{} bytes", request.contents.range.bytes);
}

OrError<Action> parse_rdma_write(StepParser& step) {
  const PeerRequest request = CBIT_TRY(parse_peer_request(step));
  const Part part = step.names.mappings[request.mapping].parts.front();
  return [=](Run& run) -> StepResult {
    const RdmaRun::Region& region = *CBIT_TRY(region_of(run, request.mapping));
    const Bytes data = request.contents.bytes();
    std::ranges::copy(data, run.part<RdmaRun>().nics.at(region.device).peer->memory().begin());
    auto done = perform(run, request, IBV_WR_RDMA_WRITE);
    if (done) run.buffer(part.buffer).written(part.range.offset + request.contents.range.offset, data);
    return done;
  };
}

OrError<Action> parse_rdma_read(StepParser& step) {
  const PeerRequest request = CBIT_TRY(parse_peer_request(step));
  return [=](Run& run) -> StepResult {
    const RdmaRun::Region& region = *CBIT_TRY(region_of(run, request.mapping));
    auto done = perform(run, request, IBV_WR_RDMA_READ);
    const ByteSpan memory = run.part<RdmaRun>().nics.at(region.device).peer->memory();
    const ConstByteSpan got = memory.first(request.contents.range.bytes);
    const Bytes data = request.contents.bytes();
    if (done && !std::ranges::equal(got, data))
      run.mismatch({"data that the peer read", "as given", "other bytes",
                    hex_diff(data, got, request.contents.range.offset)});
    return done;
  };
}

constexpr std::string_view atomic_keys[] = {"mr",      "op",  "offset",         "value",
                                            "compare", "was", "address-offset", "rkey-offset"};
constexpr Word<ibv_wr_opcode> atomic_words[] = {{"compare-swap", IBV_WR_ATOMIC_CMP_AND_SWP},
                                                {"fetch-add", IBV_WR_ATOMIC_FETCH_AND_ADD}};

struct AtomicRequest {
  std::size_t mapping = 0;
  Part part;  // the region's memory
  std::uint64_t offset = 0;
  ibv_wr_opcode opcode{};
  std::uint64_t value = 0;  // to swap or to add
  std::uint64_t compare = 0;
  std::optional<std::uint64_t> was;
  std::uint64_t address_offset = 0;
  std::uint32_t rkey_offset = 0;
};

StepResult atomic(Run& run, const AtomicRequest& request) {
  const RdmaRun::Region& region = *CBIT_TRY(region_of(run, request.mapping));
  testbed::RdmaPeer& peer = *run.part<RdmaRun>().nics.at(region.device).peer;
  const bool swap = request.opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
  const ibv_wc_status status = peer.atomic(
      {request.opcode, swap ? request.compare : request.value, swap ? request.value : 0},
      region.mr.addr.value() + request.offset + request.address_offset, region.mr.rkey + request.rkey_offset);
  if (status != IBV_WC_SUCCESS) return trouble_in_step(std::string{ibv_wc_status_str(status)});
  const auto old = load<std::uint64_t>(peer.memory());
  if (request.was && *request.was != old)
    run.mismatch({"value that the peer found", fmt::format("{}", *request.was), fmt::format("{}", old), {}});
  const std::uint64_t now = !swap ? old + request.value : old == request.compare ? request.value : old;
  if (request.address_offset == 0)
    run.buffer(request.part.buffer).written(request.part.range.offset + request.offset, bytes_of(now));
  return fmt::format("{} became {}", old, now);
}

OrError<Action> parse_atomic(StepParser& step) {
  constexpr std::uint64_t any = bit_mask(63);
  AtomicRequest request;
  request.mapping = CBIT_TRY(parse_region(step));
  const MappingName& region = step.names.mappings[request.mapping];
  request.part = region.parts.front();
  request.opcode = CBIT_TRY(step.keys.need("op", step.keys.word("op", atomic_words)));
  request.offset = CBIT_TRY(step.keys.number("offset", 0, any)).value_or(0);
  if (region.bytes < sizeof request.value || request.offset > region.bytes - sizeof request.value)
    return step.keys.error("offset", fmt::format("8 bytes from {} do not lie in the region", request.offset),
                           "use a smaller offset, or address-offset for a forged request");
  request.value = CBIT_TRY(step.keys.need("value", step.keys.number("value", 0, any)));
  request.compare = CBIT_TRY(step.keys.number("compare", 0, any)).value_or(0);
  if (step.keys.has("compare") && request.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD)
    return step.keys.error("compare", "fetch-add compares nothing", "leave \"compare\" out");
  request.was = CBIT_TRY(step.keys.number("was", 0, any));
  request.address_offset = CBIT_TRY(step.keys.number("address-offset", 0, any)).value_or(0);
  request.rkey_offset =
      static_cast<std::uint32_t>(CBIT_TRY(step.keys.number("rkey-offset", 0, 0xffff)).value_or(0));
  return [request](Run& run) { return atomic(run, request); };
}

constexpr std::string_view packet_keys[] = {"device", "data", "length"};
constexpr std::uint64_t packet_bytes_max = 4096;

OrError<Action> parse_packet(StepParser& step) {
  const std::size_t device = CBIT_TRY(parse_nic(step));
  const TomlValue* const value = step.keys.value("data");
  if (value == nullptr) return step.keys.missing("data");
  const Data data = CBIT_TRY(Data::parse(*value, step.keys.file(), "data"));
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.number("length", 0, packet_bytes_max))
          .value_or(std::min(data.length().value_or(packet_bytes_max), packet_bytes_max));
  if (bytes > data.length().value_or(bytes))
    return step.keys.error("length", "the data is shorter", "leave \"length\" out");
  return [device, data, bytes](Run& run) -> StepResult {
    const RdmaRun::Nic& nic = run.part<RdmaRun>().nics.at(device);
    const Bytes packet = data.bytes(0, bytes);
    nic.peer->send_raw(nic.ib().address(), packet);
    return fmt::format("{} bytes", packet.size());
  };
}

// ---- the application's requests --------------------------------------------------------------------------

constexpr std::string_view flood_keys[] = {"mr", "count"};

OrError<Action> parse_flood(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_region(step));
  const std::uint64_t count = CBIT_TRY(step.keys.need("count", step.keys.number("count", 1, 65536)));
  return [=](Run& run) -> StepResult {
    const RdmaRun::Region& region = *CBIT_TRY(region_of(run, id));
    RdmaRun::Nic& nic = *CBIT_TRY(run.part<RdmaRun>().open_nic(region.device));
    ibv_send_wr wr{.sg_list = {{region.mr.addr.value(), 1, region.mr.lkey}}, .opcode = IBV_WR_RDMA_WRITE};
    wr.rdma = {0, nic.peer->rkey()};
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto posted = nic.verbs->ibv_post_send(nic.qp, wr);
      if (!posted) return trouble(posted.error());
    }
    if (const auto event = nic.verbs->ibv_get_async_event())
      return trouble_in_step(event->event_type == IBV_EVENT_CQ_ERR ? "IBV_EVENT_CQ_ERR"
                                                                   : "an asynchronous event");
    return fmt::format("{} requests", count);
  };
}

constexpr std::string_view poll_keys[] = {"device", "completions"};

OrError<Action> parse_poll(StepParser& step) {
  const std::size_t device = CBIT_TRY(parse_nic(step));
  const std::uint64_t expected =
      CBIT_TRY(step.keys.need("completions", step.keys.number("completions", 0, 65536)));
  return [=](Run& run) -> StepResult {
    RdmaRun::Nic& nic = *CBIT_TRY(run.part<RdmaRun>().open_nic(device));
    const auto done = nic.verbs->ibv_poll_cq(nic.cq, 65536);
    if (!done) return trouble(done.error());
    if (done->size() != expected)
      run.mismatch({"completions", fmt::format("{}", expected), fmt::format("{}", done->size()), {}});
    return fmt::format("{} completions", done->size());
  };
}

constexpr StepKind rdma_step_kinds[] = {
    {"process", process_keys, parse_new_process},
    {"mmap", mmap_keys, parse_mmap},
    {"rdma-open", open_keys, parse_open},
    {"alloc-buf", alloc_buf_keys, parse_alloc_buf},
    {"reg-mr", reg_keys, parse_reg},
    {"dereg-mr", dereg_keys, parse_dereg},
    {"rdma-write", peer_keys, parse_rdma_write},
    {"rdma-read", peer_keys, parse_rdma_read},
    {"rdma-atomic", atomic_keys, parse_atomic},
    {"rdma-packet", packet_keys, parse_packet},
    {"rdma-flood", flood_keys, parse_flood},
    {"poll-cq", poll_keys, parse_poll},
};

}  // namespace

std::span<const StepKind> rdma_steps() { return rdma_step_kinds; }

}  // namespace cbit::lab
