// What an RDMA device lets a program of a guest do, told line by line: `WHAT: OUTCOME`. tests/guest/run.py
// reads it, and holds it against the model's table.
//
//   verbs_work alone DEVICE ADDRESS BAR    what may be registered, and what of it traffic between two queue
//                                          pairs of the device reaches
//   verbs_work meet DEVICE ADDRESS PEER    the same traffic as in the model's table, with another guest
//   verbs_work serve DEVICE ADDRESS        that guest
//
// ADDRESS is the guest's own IPv4 address, on the interface of DEVICE; BAR a file that maps a device's
// memory.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  region_bytes = 65536,  // one transfer of the model's table
  tcp_port = 18515,
  pings = 20,
  page_bytes = 4096,
  line_bytes = 64,
};
static const int all_access =
    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

struct endpoint {
  struct ibv_context* device;
  struct ibv_pd* domain;
  struct ibv_cq* completions;
  struct ibv_qp* queues;
  int gid_index;
};

// What one side has to know of the other; both are little-endian.
struct address {
  union ibv_gid gid;
  uint64_t region;
  uint32_t queue_pair, remote_key;
};

static void die(const char* what) {
  fprintf(stderr, "verbs_work: %s: %s\n", what, strerror(errno));
  exit(1);
}
static void say(const char* what, const char* outcome) {
  printf("%s: %s\n", what, outcome);
  fflush(stdout);
}
static const char* outcome_of(int error) { return error ? strerrorname_np(error) : "ok"; }

// Between such lines of the kernel's log the trace is looked at.
static void mark(const char* text) {
  char line[100];
  const int bytes = snprintf(line, sizeof line, "<6>verbs_work: %s\n", text);
  const int log = open("/dev/kmsg", O_WRONLY);
  if (log < 0 || write(log, line, (size_t)bytes) != bytes) die("/dev/kmsg");
  close(log);
}

// ---- queue pairs ----------------------------------------------------------------------------------------

static struct ibv_context* open_device(const char* name) {
  int count = 0;
  struct ibv_device** const all = ibv_get_device_list(&count);
  for (int n = 0; n < count; ++n)
    if (!strcmp(ibv_get_device_name(all[n]), name)) return ibv_open_device(all[n]);
  errno = ENODEV;
  die(name);
  return NULL;
}

// The entry of the port's table that is this IPv4 address. The kernel makes it some time after the address.
static int find_gid(struct ibv_context* device, const char* ipv4) {
  uint8_t wanted[16] = {[10] = 0xff, 0xff};
  inet_pton(AF_INET, ipv4, wanted + 12);
  union ibv_gid gid;
  for (int tries = 0; tries < 100; ++tries, usleep(100000))
    for (int n = 0; n < 16; ++n)
      if (!ibv_query_gid(device, 1, n, &gid) && !memcmp(gid.raw, wanted, sizeof wanted)) return n;
  errno = EADDRNOTAVAIL;
  die(ipv4);
  return -1;
}

static struct endpoint make_endpoint(struct ibv_context* device, struct ibv_pd* domain, int gid_index) {
  struct endpoint made = {.device = device, .domain = domain, .gid_index = gid_index};
  made.completions = ibv_create_cq(device, 4 * pings, NULL, NULL, 0);
  if (!made.completions) die("ibv_create_cq");
  struct ibv_qp_init_attr wanted = {
      .send_cq = made.completions,
      .recv_cq = made.completions,
      .qp_type = IBV_QPT_RC,
      .cap = {.max_send_wr = pings, .max_recv_wr = pings, .max_send_sge = 1, .max_recv_sge = 1}};
  made.queues = ibv_create_qp(domain, &wanted);
  if (!made.queues) die("ibv_create_qp");
  struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = all_access};
  errno =
      ibv_modify_qp(made.queues, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (errno) die("ibv_modify_qp to INIT");
  return made;
}

static void connect_to(struct endpoint* end, const struct address* peer) {
  struct ibv_port_attr port;
  errno = ibv_query_port(end->device, 1, &port);
  if (errno) die("ibv_query_port");
  struct ibv_qp_attr rtr = {.qp_state = IBV_QPS_RTR,
                            .path_mtu = port.active_mtu,
                            .dest_qp_num = peer->queue_pair,
                            .max_dest_rd_atomic = 1,
                            .min_rnr_timer = 12,
                            .ah_attr = {.is_global = 1, .port_num = 1}};
  rtr.ah_attr.grh.dgid = peer->gid;
  rtr.ah_attr.grh.sgid_index = end->gid_index;
  rtr.ah_attr.grh.hop_limit = 1;
  errno = ibv_modify_qp(end->queues, &rtr,
                        IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                            IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  if (errno) die("ibv_modify_qp to RTR");
  // 4.096 us << 20: the peer is emulated, and its machine may have other work.
  struct ibv_qp_attr rts = {
      .qp_state = IBV_QPS_RTS, .timeout = 20, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 1};
  errno = ibv_modify_qp(end->queues, &rts,
                        IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                            IBV_QP_MAX_QP_RD_ATOMIC);
  if (errno) die("ibv_modify_qp to RTS");
}

// ---- work -----------------------------------------------------------------------------------------------

// Waits for the next completion: its status.
static enum ibv_wc_status complete(struct endpoint* end) {
  struct ibv_wc done;
  int count;
  while ((count = ibv_poll_cq(end->completions, 1, &done)) == 0) continue;
  if (count < 0) die("ibv_poll_cq");
  return done.status;
}

static void post(struct endpoint* end, enum ibv_wr_opcode what, struct ibv_mr* from, uint32_t bytes,
                 uint64_t remote, uint32_t remote_key) {
  struct ibv_sge piece = {.addr = (uintptr_t)from->addr, .length = bytes, .lkey = from->lkey};
  struct ibv_send_wr work = {
      .sg_list = &piece, .num_sge = 1, .opcode = what, .send_flags = IBV_SEND_SIGNALED};
  if (what == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    work.wr.atomic.remote_addr = remote;
    work.wr.atomic.rkey = remote_key;
    work.wr.atomic.compare_add = 5;
  } else {
    work.wr.rdma.remote_addr = remote;
    work.wr.rdma.rkey = remote_key;
  }
  struct ibv_send_wr* refused;
  errno = ibv_post_send(end->queues, &work, &refused);
  if (errno) die("ibv_post_send");
}

static enum ibv_wc_status transfer(struct endpoint* end, enum ibv_wr_opcode what, struct ibv_mr* from,
                                   uint32_t bytes, uint64_t remote, uint32_t remote_key) {
  post(end, what, from, bytes, remote, remote_key);
  return complete(end);
}

static void post_receive(struct endpoint* end, struct ibv_mr* into, uint32_t bytes) {
  struct ibv_sge piece = {.addr = (uintptr_t)into->addr, .length = bytes, .lkey = into->lkey};
  struct ibv_recv_wr work = {.sg_list = &piece, .num_sge = 1};
  struct ibv_recv_wr* refused;
  errno = ibv_post_recv(end->queues, &work, &refused);
  if (errno) die("ibv_post_recv");
}

// ---- bytes ----------------------------------------------------------------------------------------------

// Text, so that cbit can look for it (--secret).
static void fill(void* region, unsigned transfer) {
  for (unsigned n = 0; n < region_bytes / line_bytes; ++n) {
    char* const line = (char*)region + n * line_bytes;
    memset(line, '.', line_bytes);
    snprintf(line, line_bytes, "verbs_work, transfer %u, line %u\n", transfer, n);
  }
}
// The device writes where the compiler sees nobody.
static int is_filled(const void* region, unsigned transfer) {
  static char wanted[region_bytes];
  fill(wanted, transfer);
  __asm__ volatile("" : : : "memory");
  return !memcmp(region, wanted, region_bytes);
}
// In the words of the model's table.
static const char* what_came(const void* region, unsigned transfer, unsigned before) {
  if (is_filled(region, transfer)) return "yes";
  if (is_filled(region, before)) return "no: old bytes";
  return "no: other bytes";
}

static void* anonymous(int flags) {
  void* const memory = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  return memory;
}

// ---- alone ----------------------------------------------------------------------------------------------

// A file's pages, or a device's; NULL: it cannot be mapped.
static void* map_file(const char* path, int protection, int flags) {
  const int file = open(path, protection & PROT_WRITE ? O_RDWR | flags : O_RDONLY | flags, 0600);
  if (file < 0 || (flags & O_CREAT && ftruncate(file, region_bytes))) die(path);
  void* const memory = mmap(NULL, region_bytes, protection, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? NULL : memory;
}

static struct ibv_mr* try_to_register(struct endpoint* end, const char* what, void* memory, int access) {
  if (!memory) {
    say(what, "cannot be mapped");
    return NULL;
  }
  errno = 0;
  struct ibv_mr* const region = ibv_reg_mr(end->domain, memory, region_bytes, access);
  say(what, outcome_of(region ? 0 : errno));
  return region;
}

// Whether traffic reaches the pages that the program sees: it writes after it has registered, and reads
// before it deregisters.
static void try_traffic(struct endpoint* end, const char* what, struct ibv_mr* region, struct ibv_mr* other) {
  char text[100];
  const uint64_t at = (uintptr_t)region->addr;
  fill(region->addr, 1);
  fill(other->addr, 2);
  enum ibv_wc_status status =
      transfer(end, IBV_WR_RDMA_WRITE, region, region_bytes, (uintptr_t)other->addr, other->rkey);
  snprintf(text, sizeof text, "%s, written from", what);
  say(text, status ? ibv_wc_status_str(status) : what_came(other->addr, 1, 2));
  fill(other->addr, 3);
  status = transfer(end, IBV_WR_RDMA_WRITE, other, region_bytes, at, region->rkey);
  snprintf(text, sizeof text, "%s, written to", what);
  say(text, status ? ibv_wc_status_str(status) : what_came(region->addr, 3, 1));
  fill(region->addr, 4);
  status = transfer(end, IBV_WR_RDMA_READ, other, region_bytes, at, region->rkey);
  snprintf(text, sizeof text, "%s, read from", what);
  say(text, status ? ibv_wc_status_str(status) : what_came(other->addr, 4, 3));
}

// Counts by fetch-and-add, and shows what the region holds then and what it held.
static void try_atomic(struct endpoint* end, struct ibv_mr* region, struct ibv_mr* other) {
  volatile uint64_t* const counter = region->addr;
  volatile uint64_t* const before = other->addr;
  *counter = 37;
  const enum ibv_wc_status status =
      transfer(end, IBV_WR_ATOMIC_FETCH_AND_ADD, other, 8, (uintptr_t)region->addr, region->rkey);
  say("fetch and add", status ? ibv_wc_status_str(status) : *counter == 42 && *before == 37 ? "yes" : "no");
}

static void try_refusals(struct endpoint* end, const char* bar) {
  try_to_register(end, "register a device's memory", map_file(bar, PROT_READ | PROT_WRITE, 0), all_access);
  void* const memory = anonymous(MAP_PRIVATE);
  try_to_register(end, "register on demand", memory, all_access | IBV_ACCESS_ON_DEMAND);
  struct ibv_alloc_dm_attr of_the_device = {.length = page_bytes};
  errno = 0;
  say("allocate the device's memory", outcome_of(ibv_alloc_dm(end->device, &of_the_device) ? 0 : errno));
  // The ends of a pipe are no buffer of another device's, which is found out behind the question whether the
  // device has such regions at all.
  int ends[2];
  if (pipe(ends)) die("pipe");
  errno = 0;
  say("register another device's buffer",
      outcome_of(ibv_reg_dmabuf_mr(end->domain, 0, page_bytes, 0, ends[0], all_access) ? 0 : errno));
  void* const read_only = mmap(NULL, region_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  try_to_register(end, "register read-only memory for writes", read_only, all_access);
}

static void alone(const char* device_name, const char* address, const char* bar) {
  struct ibv_context* const device = open_device(device_name);
  struct ibv_pd* const domain = ibv_alloc_pd(device);
  if (!domain) die("ibv_alloc_pd");
  const int gid_index = find_gid(device, address);
  struct endpoint ends[2] = {make_endpoint(device, domain, gid_index),
                             make_endpoint(device, domain, gid_index)};
  for (int n = 0; n < 2; ++n) {
    struct address peer = {.queue_pair = ends[1 - n].queues->qp_num};
    if (ibv_query_gid(device, 1, gid_index, &peer.gid)) die("ibv_query_gid");
    connect_to(&ends[n], &peer);
  }
  struct ibv_mr* const other = ibv_reg_mr(domain, anonymous(MAP_PRIVATE), region_bytes, all_access);
  if (!other) die("ibv_reg_mr");
  const struct {
    const char* name;
    void* memory;
  } kinds[] = {{"private memory", anonymous(MAP_PRIVATE)},
               {"shared memory", anonymous(MAP_SHARED)},
               {"a file", map_file("/tmp/verbs_work", PROT_READ | PROT_WRITE, O_CREAT)}};
  for (unsigned n = 0; n < sizeof kinds / sizeof *kinds; ++n) {
    char text[100];
    snprintf(text, sizeof text, "register %s", kinds[n].name);
    struct ibv_mr* const region = try_to_register(&ends[0], text, kinds[n].memory, all_access);
    if (!region) continue;
    try_traffic(&ends[0], kinds[n].name, region, other);
    if (n == 0) try_atomic(&ends[0], region, other);
    fill(region->addr, 5);
    ibv_dereg_mr(region);
    snprintf(text, sizeof text, "%s, after deregistration", kinds[n].name);
    say(text, what_came(kinds[n].memory, 5, 4));
  }
  try_refusals(&ends[0], bar);
  say("a wrong key", ibv_wc_status_str(transfer(&ends[0], IBV_WR_RDMA_WRITE, other, page_bytes,
                                                (uintptr_t)other->addr, other->rkey + 0x100)));
}

// ---- two guests -----------------------------------------------------------------------------------------

static void all_of(ssize_t (*move)(int, void*, size_t), int at, void* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t now = move(at, (char*)bytes + done, count - done);
    if (now <= 0) die("the peer");
    done += (size_t)now;
  }
}
static ssize_t write_some(int at, void* bytes, size_t count) { return write(at, bytes, count); }

// Each says one byte and hears one.
static uint8_t exchange(int peer, uint8_t mine) {
  uint8_t theirs;
  all_of(write_some, peer, &mine, 1);
  all_of(read, peer, &theirs, 1);
  return theirs;
}

static int find_peer(const char* mine, const char* theirs) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(tcp_port)};
  const int one = 1;
  if (!theirs) {
    const int door = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, mine, &at.sin_addr);
    if (bind(door, (void*)&at, sizeof at) || listen(door, 1)) die("listen");
    const int peer = accept(door, NULL, NULL);
    if (peer < 0) die("accept");
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return peer;
  }
  inet_pton(AF_INET, theirs, &at.sin_addr);
  for (;;) {
    const int peer = socket(AF_INET, SOCK_STREAM, 0);
    if (!connect(peer, (void*)&at, sizeof at)) {
      setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      return peer;
    }
    close(peer);
    usleep(100000);
  }
}

struct pair {
  struct endpoint end;
  struct ibv_mr* region;
  struct address theirs;
  int peer;
};

static struct pair meet_peer(const char* device_name, const char* mine, const char* theirs) {
  struct pair met;
  struct ibv_context* const device = open_device(device_name);
  struct ibv_pd* const domain = ibv_alloc_pd(device);
  if (!domain) die("ibv_alloc_pd");
  met.end = make_endpoint(device, domain, find_gid(device, mine));
  uint8_t* const memory = anonymous(MAP_PRIVATE);
  fill(memory, 9);
  if (theirs) mark("registration begins");
  met.region = ibv_reg_mr(domain, memory, region_bytes, all_access);
  if (theirs) mark("registration ends");
  if (theirs) say("registration", outcome_of(met.region ? 0 : errno));
  if (!met.region) exit(1);
  met.peer = find_peer(mine, theirs);
  struct address me = {
      .queue_pair = met.end.queues->qp_num, .region = (uintptr_t)memory, .remote_key = met.region->rkey};
  if (ibv_query_gid(device, 1, met.end.gid_index, &me.gid)) die("ibv_query_gid");
  all_of(write_some, met.peer, &me, sizeof me);
  all_of(read, met.peer, &met.theirs, sizeof met.theirs);
  connect_to(&met.end, &met.theirs);
  exchange(met.peer, 0);
  return met;
}

static void write_region(struct pair* met) {
  const enum ibv_wc_status status = transfer(&met->end, IBV_WR_RDMA_WRITE, met->region, region_bytes,
                                             met->theirs.region, met->theirs.remote_key);
  if (status) {
    say("write", ibv_wc_status_str(status));
    exit(1);
  }
}

// Messages of a page there and back; `first`: who begins.
static const char* ping_pong(struct pair* met, int first) {
  for (int n = 0; n < pings; ++n) post_receive(&met->end, met->region, page_bytes);
  exchange(met->peer, 0);
  for (int n = 0; n < pings; ++n) {
    enum ibv_wc_status status = IBV_WC_SUCCESS;
    if (first || n > 0) post(&met->end, IBV_WR_SEND, met->region, page_bytes, 0, 0);
    if (first || n > 0) status = complete(&met->end);
    if (!status) status = complete(&met->end);
    if (status) return ibv_wc_status_str(status);
  }
  if (!first) {
    post(&met->end, IBV_WR_SEND, met->region, page_bytes, 0, 0);
    const enum ibv_wc_status status = complete(&met->end);
    if (status) return ibv_wc_status_str(status);
  }
  return "yes";
}

static void meet(const char* device_name, const char* mine, const char* theirs) {
  struct pair met = meet_peer(device_name, mine, theirs);
  uint8_t* const memory = met.region->addr;
  mark("traffic begins");
  fill(memory, 1);  // after it was registered
  write_region(&met);
  say("application's data arrives", exchange(met.peer, 0) == 'y' ? "yes" : "no: old bytes");
  exchange(met.peer, 0);
  say("NIC's data arrives", what_came(memory, 2, 1));
  mark("traffic ends");
  exchange(met.peer, 0);
  const enum ibv_wc_status status = transfer(&met.end, IBV_WR_RDMA_READ, met.region, region_bytes,
                                             met.theirs.region, met.theirs.remote_key);
  say("read", status ? ibv_wc_status_str(status) : what_came(memory, 3, 2));
  exchange(met.peer, 0);
  say("ping-pong", ping_pong(&met, 1));
  fill(memory, 4);
  ibv_dereg_mr(met.region);
  say("after deregistration", what_came(memory, 4, 3));
  exchange(met.peer, 0);
}

static void serve(const char* device_name, const char* mine) {
  struct pair met = meet_peer(device_name, mine, NULL);
  uint8_t* const memory = met.region->addr;
  uint8_t came;
  all_of(read, met.peer, &came, 1);
  came = is_filled(memory, 1) ? 'y' : 'n';
  all_of(write_some, met.peer, &came, 1);
  fill(memory, 2);
  write_region(&met);
  exchange(met.peer, 0);
  fill(memory, 3);
  exchange(met.peer, 0);
  exchange(met.peer, 0);
  say("ping-pong of the peer", ping_pong(&met, 0));
  exchange(met.peer, 0);
}

int main(int count, char** words) {
  if (count == 5 && !strcmp(words[1], "alone"))
    alone(words[2], words[3], words[4]);
  else if (count == 4 && !strcmp(words[1], "serve"))
    serve(words[2], words[3]);
  else if (count == 5 && !strcmp(words[1], "meet"))
    meet(words[2], words[3], words[4]);
  else
    return fprintf(stderr,
                   "usage: verbs_work alone DEVICE ADDRESS BAR | serve DEVICE ADDRESS | "
                   "meet DEVICE ADDRESS PEER\n"),
           2;
  return 0;
}
