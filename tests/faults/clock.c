/* Wall clocks that step: loaded by LD_PRELOAD into API and workers. Every answer about the wall clock has the offset
 * added that stands in the file $PENSTOCK_FAULTS_CLOCK, nanoseconds as a 64 bit number, mapped once. Monotonic clocks,
 * waits and the times of files are right. (libfaketime 0.9.10 as Debian has it breaks the waits of Python.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("PENSTOCK_FAULTS_CLOCK");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file >= 0) {
    void *at = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    offset = at == MAP_FAILED ? NULL : at;
    close(file);
  }
}

static int real(clockid_t clock, struct timespec *at) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) {
    next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  }
  return next ? next(clock, at) : (int)syscall(SYS_clock_gettime, clock, at);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  int result = real(clock, at);
  if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t now = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + *offset;
    at->tv_sec = now / 1000000000;
    at->tv_nsec = now % 1000000000;
  }
  return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) {
    *at = now.tv_sec;
  }
  return now.tv_sec;
}
