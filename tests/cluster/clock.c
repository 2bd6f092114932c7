/* A clock that can be set: preloaded, it adds to the time of day the seconds that stand in the file $LIMNER_CLOCK.
 *
 * Deadlines by the time of day are moved back before the C library sees them, so that a wait lasts as long as it was
 * meant to last. A deadline that is no time of day, as of a condition by the monotonic clock, lies before BEGAN.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define BEGAN 1000000000 /* 2001; no machine is up for so long */

/* The function of this name that the C library has. */
#define REAL(name)                                                          \
    static __typeof__(&name) real;                                          \
    if (!real) real = (__typeof__(&name))found(#name)

static void *found(const char *name) {
    /* Of conditions there are two kinds; the older one comes first unless the newer one is named. */
    void *newer = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return newer ? newer : dlsym(RTLD_NEXT, name);
}

static int64_t ahead(void) {
    static const volatile int64_t *seconds;
    if (!seconds) {
        static const int64_t right = 0;
        const char *path = getenv("LIMNER_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *place = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        seconds = place == MAP_FAILED ? &right : place;
    }
    return *seconds;
}

static struct timespec right(const struct timespec *deadline) {
    struct timespec moved = *deadline;
    if (moved.tv_sec > BEGAN) moved.tv_sec -= ahead();
    return moved;
}

static int of_day(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int failed = real(clock, now);
    if (!failed && of_day(clock)) now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int failed = real(now, zone);
    if (!failed) now->tv_sec += ahead();
    return failed;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    REAL(timespec_get);
    int given = real(now, base);
    if (given == TIME_UTC) now->tv_sec += ahead();
    return given;
}

int clock_nanosleep(clockid_t clock, int how, const struct timespec *until, struct timespec *left) {
    REAL(clock_nanosleep);
    struct timespec moved = *until;
    if (how == TIMER_ABSTIME && of_day(clock)) moved = right(until);
    return real(clock, how, &moved, left);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    REAL(pthread_cond_timedwait);
    struct timespec moved = right(until);
    return real(condition, mutex, &moved);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict until) {
    REAL(pthread_cond_clockwait);
    struct timespec moved = right(until);
    return real(condition, mutex, clock, &moved);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    REAL(cnd_timedwait);
    struct timespec moved = right(until);
    return real(condition, mutex, &moved);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    REAL(pthread_mutex_timedlock);
    struct timespec moved = right(until);
    return real(mutex, &moved);
}

int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict until) {
    REAL(mtx_timedlock);
    struct timespec moved = right(until);
    return real(mutex, &moved);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    REAL(sem_timedwait);
    struct timespec moved = right(until);
    return real(semaphore, &moved);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until) {
    REAL(sem_clockwait);
    struct timespec moved = right(until);
    return real(semaphore, clock, &moved);
}
