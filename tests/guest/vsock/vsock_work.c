// A guest's end of AF_VSOCK, for tests/guest/run.py: what nc is for other sockets.
//
//   vsock_work cid                 the guest's CID
//   vsock_work connect CID PORT    standard input goes there, and what comes back to standard output
//   vsock_work listen PORT         the same with who calls first
//   vsock_work echo PORT CALLERS   gives each caller, one after the other, what it sends
//
// It ends when both sides have said all. Linux, include/uapi/linux/vm_sockets.h.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
// Needs struct sockaddr of the header above.
#include <linux/vm_sockets.h>
#include <unistd.h>

static void die(const char* what) {
  fprintf(stderr, "vsock_work: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_vm address_of(unsigned cid, const char* port) {
  struct sockaddr_vm address;
  memset(&address, 0, sizeof address);
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = (unsigned)strtoul(port, NULL, 0);
  return address;
}

static int make_socket(void) {
  const int made = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (made < 0) die("socket");
  return made;
}

static int connect_to(const char* cid, const char* port) {
  const struct sockaddr_vm address = address_of((unsigned)strtoul(cid, NULL, 0), port);
  const int made = make_socket();
  if (connect(made, (const struct sockaddr*)&address, sizeof address) != 0) die("connect");
  return made;
}

static int listen_at(const char* port) {
  const struct sockaddr_vm address = address_of(VMADDR_CID_ANY, port);
  const int made = make_socket();
  if (bind(made, (const struct sockaddr*)&address, sizeof address) != 0) die("bind");
  if (listen(made, 16) != 0) die("listen");
  return made;
}

static int next_caller(int listener) {
  const int made = accept(listener, NULL, NULL);
  if (made < 0) die("accept");
  return made;
}

static void write_all(int to, const char* bytes, size_t count) {
  while (count != 0) {
    const ssize_t done = write(to, bytes, count);
    if (done < 0) die("write");
    bytes += done;
    count -= (size_t)done;
  }
}

// How many bytes went; 0: the end.
static size_t pass(int from, int to) {
  static char buffer[1 << 16];
  const ssize_t count = read(from, buffer, sizeof buffer);
  if (count < 0) die("read");
  write_all(to, buffer, (size_t)count);
  return (size_t)count;
}

static void talk(int peer) {
  struct pollfd ends[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = peer, .events = POLLIN}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (poll(ends, 2, -1) < 0) die("poll");
    if (ends[0].revents != 0 && pass(STDIN_FILENO, peer) == 0) {
      shutdown(peer, SHUT_WR);
      ends[0].fd = -1;
    }
    if (ends[1].revents != 0 && pass(peer, STDOUT_FILENO) == 0) ends[1].fd = -1;
  }
  close(peer);
}

static void echo(const char* port, unsigned callers) {
  const int listener = listen_at(port);
  for (; callers != 0; --callers) {
    const int peer = next_caller(listener);
    while (pass(peer, peer) != 0) {
    }
    close(peer);
  }
}

static void print_cid(void) {
  unsigned cid = 0;
  const int device = open("/dev/vsock", O_RDONLY);
  if (device < 0 || ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) != 0) die("/dev/vsock");
  printf("%u\n", cid);
}

int main(int count, char** words) {
  const char* const what = count > 1 ? words[1] : "";
  if (strcmp(what, "cid") == 0)
    print_cid();
  else if (strcmp(what, "connect") == 0 && count == 4)
    talk(connect_to(words[2], words[3]));
  else if (strcmp(what, "listen") == 0 && count == 3)
    talk(next_caller(listen_at(words[2])));
  else if (strcmp(what, "echo") == 0 && count == 4)
    echo(words[2], (unsigned)strtoul(words[3], NULL, 0));
  else
    return 2;
  return 0;
}
