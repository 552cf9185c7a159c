// What bench/cpu runs in the guest: one kind of work per row, so often, between two lines on the console.
//
// usage: cpu_guest ROW COUNT [ROW COUNT]...
//
// Prints "ROW begins" and "ROW ended SUM NANOSECONDS". SUM is of what was computed, the same on every right
// processor; NANOSECONDS are those of the machine's own clock, which may be a virtual one.

#define _GNU_SOURCE
#include <emmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
// The compiler may not know the value any more.
#define HIDE(value) __asm__ volatile("" : "+r"(value))

enum { WORDS = 1 << 20, PAGE = 4096, BLOCK = 64 << 10 };

static uint64_t words[WORDS] __attribute__((aligned(PAGE)));
static uint8_t source[BLOCK] __attribute__((aligned(64)));
static uint8_t target[BLOCK] __attribute__((aligned(64)));
static const char* self;

static void need(int holds, const char* what) {
  if (holds) return;
  perror(what);
  exit(1);
}

// xorshift64, Marsaglia 2003.
static inline uint64_t next_random(uint64_t x) {
  x ^= x << 13;
  x ^= x >> 7;
  return x ^ x << 17;
}

static void fill(void* to, size_t bytes) {
  uint64_t x = 88172645463325252u;
  uint8_t* at = to;
  for (size_t i = 0; i < bytes; ++i) {
    x = next_random(x);
    at[i] = (uint8_t)x;
  }
}

static void fill_words(void) {
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i < WORDS; ++i) words[i] = x = next_random(x);
}

static inline uint64_t rotated(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static uint64_t row_hash(unsigned long count) {
  fill(source, sizeof source);
  uint64_t h = 0x9e3779b97f4a7c15u;
  uint32_t low = 1;
  while (count--) {
    for (size_t i = 0; i < BLOCK; i += 8) {
      uint64_t k;
      memcpy(&k, source + i, 8);
      k *= 0x87c37b91114253d5u;
      h = rotated(h ^ rotated(k, 31), 27) * 5 + 0x52dce729;
      low = (low ^ (uint32_t)h) * 16777619u + (low >> 5);
    }
  }
  return h ^ low;
}

static uint64_t row_sieve(unsigned long count) {
  uint64_t primes = 0;
  while (count--) {
    memset(target, 1, sizeof target);
    for (size_t i = 2; i < BLOCK; ++i) {
      if (!target[i]) continue;
      ++primes;
      for (size_t j = 2 * i; j < BLOCK; j += i) target[j] = 0;
    }
  }
  return primes;
}

enum { LIMBS = 32 };

static NOINLINE uint64_t add_product(uint64_t* to, const uint64_t* a, uint64_t factor) {
  uint64_t carry = 0;
  for (int i = 0; i < LIMBS; ++i) {
    const unsigned __int128 sum = (unsigned __int128)a[i] * factor + to[i] + carry;
    to[i] = (uint64_t)sum;
    carry = (uint64_t)(sum >> 64);
  }
  return carry;
}

static NOINLINE void add_long(uint64_t* to, const uint64_t* a) {
  long left = LIMBS;
  uint64_t word;
  __asm__ volatile(
      "clc\n"
      "1: movq (%[a]), %[word]\n"
      "adcq %[word], (%[to])\n"
      "leaq 8(%[a]), %[a]\n"
      "leaq 8(%[to]), %[to]\n"
      "decq %[left]\n"
      "jnz 1b\n"
      : [to] "+r"(to), [a] "+r"(a), [left] "+r"(left), [word] "=&r"(word)::"cc", "memory");
}

static uint64_t row_bignum(unsigned long count) {
  uint64_t product[2 * LIMBS] = {0};
  uint64_t a[LIMBS];
  fill(a, sizeof a);
  while (count--) {
    for (int i = 0; i < LIMBS; ++i) product[i + LIMBS] = add_product(product + i, a, a[i]);
    add_long(product, a);
    add_long(a, product + LIMBS / 2);
    a[count % LIMBS] = product[LIMBS] / (product[0] | 1);
  }
  uint64_t sum = 0;
  for (int i = 0; i < 2 * LIMBS; ++i) sum = sum * 31 + product[i];
  return sum;
}

static uint64_t row_linear(unsigned long count) {
  fill_words();
  uint64_t sum = 0;
  while (count--) {
    for (size_t i = 0; i < WORDS; ++i) {
      sum += words[i];
      words[i] = sum;
    }
    uint32_t* halves = (uint32_t*)words;
    for (size_t i = 0; i < WORDS; i += 2) halves[i] ^= halves[i + 1];
  }
  return sum;
}

// Among so many words, a power of two.
static uint64_t load_and_store(unsigned long steps, uint64_t among) {
  fill_words();
  uint64_t x = 88172645463325252u;
  uint64_t sum = 0;
  while (steps--) {
    x = next_random(x);
    sum += words[x & (among - 1)];
    words[x >> 32 & (among - 1)] = sum;
  }
  return sum;
}

static uint64_t row_random(unsigned long count) { return load_and_store(count << 20, WORDS / 16); }
// 2048 pages: more than a small TLB holds.
static uint64_t row_tlb(unsigned long count) { return load_and_store(count << 16, WORDS); }

enum { NODES = 1 << 17 };

// Sattolo's algorithm: a permutation of one cycle.
static uint64_t row_chase(unsigned long count) {
  uint64_t x = 88172645463325252u;
  for (uint64_t i = 0; i < NODES; ++i) words[i] = i;
  for (uint64_t i = NODES - 1; i > 0; --i) {
    x = next_random(x);
    const uint64_t j = x % i;
    const uint64_t was = words[i];
    words[i] = words[j];
    words[j] = was;
  }
  for (uint64_t i = 0; i < NODES; ++i) words[i] = (uint64_t)&words[words[i]];
  const uint64_t* at = words;
  for (count *= 1000003; count--;) at = (const uint64_t*)*at;
  return (uint64_t)(at - words);
}

static uint64_t row_memcpy(unsigned long count) {
  fill(source, sizeof source);
  uint64_t sum = 0;
  while (count--) {
    for (size_t bytes = 16; bytes <= BLOCK; bytes *= 2) {
      void* to = target;
      const size_t skipped = bytes < BLOCK ? count % 16 : 0;
      HIDE(to);
      memcpy(to, source + skipped, bytes);
      sum += target[bytes - 1];
    }
    sum += (uint64_t)memcmp(source, target, sizeof target) + strlen((const char*)source + count % BLOCK / 2);
  }
  return sum;
}

static inline void rep_movs(void* to, const void* from, size_t bytes) {
  size_t count = bytes / 8;
  __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  count = bytes % 8;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

static inline void rep_stos(void* to, uint64_t value, size_t bytes) {
  size_t count = bytes / 8;
  __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static uint64_t row_rep(unsigned long count) {
  fill(source, sizeof source);
  uint64_t sum = 0;
  while (count--) {
    rep_stos(target, count, PAGE);
    for (size_t bytes = 15; bytes < PAGE; bytes = bytes * 2 + 1) rep_movs(target, source + count % 64, bytes);
    rep_movs(target, source, PAGE);
    sum += target[count % PAGE];
  }
  return sum;
}

static uint64_t row_branches(unsigned long count) {
  uint64_t x = 88172645463325252u;
  uint64_t a = 0;
  uint64_t b = 0;
  for (count <<= 20; count--;) {
    x = next_random(x);
    if (x & 1)
      a += x;
    else
      b ^= x;
    HIDE(a);
    if ((int64_t)x < 0) {
      a ^= b;
      HIDE(b);
    }
    if ((x & 0xff00) > 0x8000) {
      b += 3;
      HIDE(a);
    }
  }
  return a ^ b;
}

static NOINLINE uint64_t fibonacci(uint64_t n) {
  HIDE(n);
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static NOINLINE uint64_t called_add(uint64_t x) { return x + 11; }
static NOINLINE uint64_t called_xor(uint64_t x) { return x ^ x >> 3; }
static NOINLINE uint64_t called_multiply(uint64_t x) { return x * 13; }
static NOINLINE uint64_t called_rotate(uint64_t x) { return rotated(x, 9); }
static uint64_t (*const called[])(uint64_t) = {called_add, called_xor, called_multiply, called_rotate};

static uint64_t row_calls(unsigned long count) {
  uint64_t sum = 1;
  while (count--) {
    sum += fibonacci(20);
    for (unsigned i = 0; i < 10000; ++i) sum = called[(sum >> 7) & 3](sum);
  }
  return sum;
}

static uint64_t row_sse_integer(unsigned long count) {
  fill(source, sizeof source);
  __m128i sum = _mm_setzero_si128();
  while (count--) {
    for (size_t i = 0; i < BLOCK; i += 32) {
      const __m128i a = _mm_load_si128((const __m128i*)(source + i));
      const __m128i b = _mm_loadu_si128((const __m128i*)(source + (i ? i - 5 : 0)));
      const __m128i mask = _mm_cmpgt_epi8(a, b);
      __m128i c = _mm_xor_si128(_mm_and_si128(a, mask), _mm_andnot_si128(mask, b));
      c = _mm_add_epi32(c, _mm_shuffle_epi32(sum, 0x39));
      sum = _mm_add_epi64(sum, _mm_mul_epu32(c, a));
      sum = _mm_xor_si128(sum, _mm_unpacklo_epi8(b, c));
      sum = _mm_or_si128(_mm_slli_epi32(sum, 7), _mm_srli_epi32(sum, 25));
      sum = _mm_add_epi8(sum, _mm_set1_epi8((char)_mm_movemask_epi8(mask)));
      _mm_store_si128((__m128i*)(target + i), sum);
    }
  }
  uint64_t halves[2];
  memcpy(halves, &sum, sizeof halves);
  return halves[0] ^ halves[1];
}

static double doubles[BLOCK / 8] __attribute__((aligned(16)));

static uint64_t row_sse_double(unsigned long count) {
  for (size_t i = 0; i < BLOCK / 8; ++i) doubles[i] = 1.0 + (double)i / 3;
  double scalar = 1;
  __m128d packed = _mm_set_pd(1, 2);
  while (count--) {
    for (size_t i = 0; i < BLOCK / 8; i += 2) {
      const __m128d two = _mm_load_pd(doubles + i);
      packed = _mm_add_pd(_mm_mul_pd(packed, _mm_set1_pd(0.5)), two);
      scalar = (scalar * 0.25 + doubles[i]) / 1.0625 - doubles[i + 1];
      if (scalar > 1000) scalar -= (double)(int64_t)scalar;
      _mm_store_pd(doubles + i, _mm_sub_pd(two, _mm_set1_pd(1.0 / 1024)));
    }
    scalar += (double)(float)_mm_cvtsd_f64(_mm_sqrt_sd(packed, packed));
  }
  double sums[3];
  _mm_storeu_pd(sums, packed);
  sums[2] = scalar;
  uint64_t sum = 0;
  for (int i = 0; i < 3; ++i) {
    uint64_t bits;
    memcpy(&bits, &sums[i], sizeof bits);
    sum ^= rotated(bits, (unsigned)i + 1);
  }
  return sum;
}

static uint64_t row_x87(unsigned long count) {
  long double sum = 1;
  long double x = 0.5L;
  for (count <<= 14; count--;) {
    for (int i = 1; i < 8; ++i) {
      x = x * (sum - i) + 1.0L / (long double)i;
      if (x > 4 || x < -4) x -= (long double)(int64_t)x;
      sum += x * 0.125L;
      if (sum > 100 || sum < -100) sum *= 0.015625L;
    }
  }
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  return bits;
}

static uint64_t row_syscalls(unsigned long count) {
  uint64_t sum = 0;
  for (count <<= 10; count--;) sum += syscall(SYS_getpid) > 0;
  return sum;
}

// Areas too small for huge pages.
static uint64_t row_faults(unsigned long count) {
  uint64_t sum = 0;
  while (count--) {
    uint8_t* area = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(area != MAP_FAILED, "mmap");
    for (size_t i = 0; i < 64; ++i) sum += ++area[i * PAGE];
    need(munmap(area, 64 * PAGE) == 0, "munmap");
  }
  return sum;
}

static uint64_t row_exec(unsigned long count) {
  uint64_t sum = 0;
  while (count--) {
    const pid_t child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
      execl(self, self, (char*)NULL);
      _exit(1);
    }
    int status = 0;
    need(waitpid(child, &status, 0) == child && status == 0, "exec");
    ++sum;
  }
  return sum;
}

// mov eax, IMMEDIATE; ret - 16 of them in a page, of which one changes each time.
static uint64_t row_patching(unsigned long count) {
  uint8_t* code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(code != MAP_FAILED, "mmap");
  for (size_t i = 0; i < 16; ++i) memcpy(code + 64 * i, "\xb8\0\0\0\0\xc3", 6);
  uint64_t sum = 0;
  while (count--) {
    const uint32_t value = (uint32_t)count;
    need(mprotect(code, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    memcpy(code + count % 16 * 64 + 1, &value, sizeof value);
    need(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0, "mprotect");
    for (size_t i = 0; i < 16; ++i) {
      uint32_t (*function)(void);
      void* at = code + 64 * i;
      memcpy(&function, &at, sizeof function);
      sum = sum * 3 + function();
    }
  }
  need(munmap(code, PAGE) == 0, "munmap");
  return sum;
}

static const struct {
  const char* name;
  uint64_t (*run)(unsigned long count);
} rows[] = {
    {"hash", row_hash},
    {"sieve", row_sieve},
    {"bignum", row_bignum},
    {"linear", row_linear},
    {"random", row_random},
    {"tlb", row_tlb},
    {"chase", row_chase},
    {"memcpy", row_memcpy},
    {"rep", row_rep},
    {"branches", row_branches},
    {"calls", row_calls},
    {"sse-integer", row_sse_integer},
    {"sse-double", row_sse_double},
    {"x87", row_x87},
    {"syscalls", row_syscalls},
    {"faults", row_faults},
    {"exec", row_exec},
    {"patching", row_patching},
};

static void run(const char* name, unsigned long count) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
    if (strcmp(rows[i].name, name) != 0) continue;
    struct timespec began, ended;
    printf("%s begins\n", name);
    clock_gettime(CLOCK_MONOTONIC, &began);
    const uint64_t sum = rows[i].run(count);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%s ended %016llx %lld\n", name, (unsigned long long)sum,
           (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec);
    return;
  }
  fprintf(stderr, "cpu_guest: there is no row %s\n", name);
  exit(2);
}

int main(int argc, char** argv) {
  self = argv[0];
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 1; i + 1 < argc; i += 2) run(argv[i], strtoul(argv[i + 1], NULL, 10));
  return 0;
}
