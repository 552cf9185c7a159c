// Buffers of a display's driver, as a process draws into them and the driver moves them: `WHAT: OUTCOME`,
// line by line. tests/guest/run.py reads it, and compares the picture that is left on the screen.
//
//   display_work buffers   shows more buffers than video memory holds, one after the other, by
//                          /dev/dri/card0; its last line is "done", and then it waits, so that its picture
//                          stays
//   display_work console   writes a picture of 1024 x 768 into /dev/fb0, whose driver copies it
//
// Linux, include/uapi/drm/drm_mode.h.
#include <drm.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
  width = 640,
  height = 480,
  more_than_fit = 16,  // of 1.2 MB each, where video memory has 16 MiB
};

static void die(const char* what) {
  fprintf(stderr, "display_work: %s: %s\n", what, strerror(errno));
  exit(1);
}
static void say(const char* what, const char* outcome) {
  printf("%s: %s\n", what, outcome);
  fflush(stdout);
}

// Red, green and blue; run.py has the same.
static uint32_t color(unsigned x, unsigned y, unsigned picture) {
  const unsigned red = (3 * x + 40 * picture) & 0xff, green = (5 * y) & 0xff,
                 blue = ((x ^ y) + 16 * picture) & 0xff;
  return red << 16 | green << 8 | blue;
}

// ---- buffers --------------------------------------------------------------------------------------------

struct buffer {
  uint32_t handle, framebuffer, pitch;
  volatile uint8_t* pixels;  // of the process
};
struct screen {
  int card;
  uint32_t connector, crtc;
  struct drm_mode_modeinfo mode;
};

static void ask(int card, unsigned long what, void* words, const char* name) {
  if (ioctl(card, what, words)) die(name);
}

static struct buffer make_buffer(const struct screen* screen) {
  struct buffer made = {0};
  struct drm_mode_create_dumb create = {.width = width, .height = height, .bpp = 32};
  ask(screen->card, DRM_IOCTL_MODE_CREATE_DUMB, &create, "DRM_IOCTL_MODE_CREATE_DUMB");
  struct drm_mode_fb_cmd add = {.width = width,
                                .height = height,
                                .pitch = create.pitch,
                                .bpp = 32,
                                .depth = 24,
                                .handle = create.handle};
  ask(screen->card, DRM_IOCTL_MODE_ADDFB, &add, "DRM_IOCTL_MODE_ADDFB");
  struct drm_mode_map_dumb map = {.handle = create.handle};
  ask(screen->card, DRM_IOCTL_MODE_MAP_DUMB, &map, "DRM_IOCTL_MODE_MAP_DUMB");
  made.handle = create.handle;
  made.framebuffer = add.fb_id;
  made.pitch = create.pitch;
  made.pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, screen->card, (off_t)map.offset);
  if (made.pixels == MAP_FAILED) die("mmap");
  return made;
}

static void draw(const struct buffer* buffer, unsigned picture) {
  for (unsigned y = 0; y < height; ++y)
    for (unsigned x = 0; x < width; ++x)
      ((volatile uint32_t*)(buffer->pixels + (size_t)y * buffer->pitch))[x] = color(x, y, picture);
}
static const char* what_is_seen(const struct buffer* buffer, unsigned picture) {
  for (unsigned y = 0; y < height; ++y)
    for (unsigned x = 0; x < width; ++x) {
      const uint32_t seen = ((volatile uint32_t*)(buffer->pixels + (size_t)y * buffer->pitch))[x];
      if ((seen & 0xffffff) != color(x, y, picture)) return seen == ~0u ? "ones" : "other";
    }
  return "same";
}

static void show(const struct screen* screen, const struct buffer* buffer) {
  uint32_t connector = screen->connector;
  struct drm_mode_crtc set = {.set_connectors_ptr = (uintptr_t)&connector,
                              .count_connectors = 1,
                              .crtc_id = screen->crtc,
                              .fb_id = buffer->framebuffer,
                              .mode_valid = 1,
                              .mode = screen->mode};
  ask(screen->card, DRM_IOCTL_MODE_SETCRTC, &set, "DRM_IOCTL_MODE_SETCRTC");
}

// The one connector, with its mode of our size.
static struct screen find_screen(void) {
  struct screen found = {.card = open("/dev/dri/card0", O_RDWR)};
  if (found.card < 0) die("/dev/dri/card0");
  struct drm_mode_card_res resources = {.crtc_id_ptr = (uintptr_t)&found.crtc,
                                        .count_crtcs = 1,
                                        .connector_id_ptr = (uintptr_t)&found.connector,
                                        .count_connectors = 1};
  ask(found.card, DRM_IOCTL_MODE_GETRESOURCES, &resources, "DRM_IOCTL_MODE_GETRESOURCES");
  // Without room for modes it looks which there are.
  struct drm_mode_get_connector connector = {.connector_id = found.connector};
  ask(found.card, DRM_IOCTL_MODE_GETCONNECTOR, &connector, "DRM_IOCTL_MODE_GETCONNECTOR");
  struct drm_mode_modeinfo* const modes = calloc(connector.count_modes, sizeof *modes);
  struct drm_mode_get_connector again = {
      .connector_id = found.connector, .modes_ptr = (uintptr_t)modes, .count_modes = connector.count_modes};
  ask(found.card, DRM_IOCTL_MODE_GETCONNECTOR, &again, "DRM_IOCTL_MODE_GETCONNECTOR");
  for (unsigned n = 0; n < connector.count_modes; ++n)
    if (modes[n].hdisplay == width && modes[n].vdisplay == height) {
      found.mode = modes[n];
      return found;
    }
  errno = ENOENT;
  die("a mode of 640x480");
  return found;
}

// A new buffer is in system memory, what is shown is in video memory; where there is no room for it, one that
// is not shown goes back to system memory. A process' mapping is made anew after each move.
static void show_buffers(void) {
  const struct screen screen = find_screen();
  const struct buffer first = make_buffer(&screen);
  draw(&first, 1);
  say("drawn in system memory", what_is_seen(&first, 1));
  show(&screen, &first);
  say("moved to video memory", what_is_seen(&first, 1));
  draw(&first, 2);
  say("drawn in video memory", what_is_seen(&first, 2));
  struct buffer others[more_than_fit];
  for (unsigned n = 0; n < more_than_fit; ++n) {
    others[n] = make_buffer(&screen);
    draw(&others[n], 3 + n);
    show(&screen, &others[n]);
  }
  say("moved back to system memory", what_is_seen(&first, 2));
  const char* all = "same";
  for (unsigned n = 0; n < more_than_fit && !strcmp(all, "same"); ++n) all = what_is_seen(&others[n], 3 + n);
  say("all the others", all);
  show(&screen, &first);
  say("moved to video memory again", what_is_seen(&first, 2));
  puts("done");
  fflush(stdout);
  pause();
}

// ---- console --------------------------------------------------------------------------------------------

// In one piece: of a write that is one whole row drm_fb_helper_memory_range_to_clip() of Linux 6.1 makes an
// empty rectangle, and nothing is copied to the screen.
static void draw_on_console(void) {
  enum { console_width = 1024, console_height = 768 };
  static uint32_t pixels[console_height][console_width];
  for (unsigned y = 0; y < console_height; ++y)
    for (unsigned x = 0; x < console_width; ++x) pixels[y][x] = color(x, y, 7);
  const int console = open("/dev/fb0", O_WRONLY);
  if (console < 0 || write(console, pixels, sizeof pixels) != (ssize_t)sizeof pixels) die("/dev/fb0");
  sleep(1);  // what copies it is a work of the kernel's
  puts("done");
}

int main(int count, char** words) {
  if (count == 2 && !strcmp(words[1], "buffers"))
    show_buffers();
  else if (count == 2 && !strcmp(words[1], "console"))
    draw_on_console();
  else
    return fprintf(stderr, "usage: display_work buffers | console\n"), 2;
  return 0;
}
