/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For LD_PRELOAD, in httpd: system calls and allocations that fail when a test
 * says so. STAPLE_FAULTS is a file, mapped by the server and inherited by all
 * of its processes, whose fields a test writes (Staple::Faults):
 *
 *   0  kinds   which calls, one bit each, in the order of enum kind; 0: none
 *   4  who     in which processes, one bit each: parent, refresher, child
 *   8  scope   1: only calls that mod_staple makes, itself or through httpd
 *  12  nth     the nth such call since armed fails; 0: by rate
 *  16  rate    one in so many fails, by a generator
 *  20  seed    of that generator
 *  24  count   such calls since armed     } written here
 *  28  fired   those of them that failed  }
 *  32  what    the last of them: its name, or what it was to open, as text
 *
 * All but the last are numbers of 32 bits in the host's order. A test disarms
 * (kinds 0), writes the others, and arms.
 *
 * The parent is the process that loaded this; the refresher is known by its
 * name, staple-refresh; all others are children. Whether mod_staple makes a
 * call is read off the stack: one of the words above the call points into its
 * code. A word left there by an earlier call can mislead, always in the same
 * way, and then one call more is counted.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT, dl_iterate_phdr */
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define REFRESHER "staple-refresh"
#define MODULE "mod_staple.so"
#define STACK_LOOK 16384 /* bytes above a call */

enum kind {
    MALLOC, MMAP, OPEN, READ, WRITE, FSYNC, SOCKET, CONNECT, POLL, THREAD,
    FORK, GETADDRINFO, RENAME
};

enum who { PARENT = 1, IN_REFRESHER = 2, CHILD = 4 };

typedef struct control_t {
    atomic_uint kinds, who, scope, nth, rate, seed, count, fired;
    char what[96];
} control_t;

/* glibc's own, for before dlsym() can be asked, which allocates itself; their
 * names are glibc's choice.
 * NOLINTBEGIN(*-reserved-identifier,*-dcl37-c,*-dcl51-cpp) */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_stack_end;
extern int __res_init(void); /* res_init() */
/* NOLINTEND(*-reserved-identifier,*-dcl37-c,*-dcl51-cpp) */

static control_t *control;
static pid_t parent;
static atomic_uintptr_t code_from, code_to; /* mod_staple's; 0: not loaded */
static _Thread_local int is_busy; /* in here already: let calls through */
static _Thread_local uintptr_t stack_end;

/* The real one of a function that is defined here. */
#define REAL(name) ((__typeof__(&(name)))real(#name))

static void *real(const char *name)
{
    void *found;

    is_busy++;
    found = dlsym(RTLD_NEXT, name);
    is_busy--;
    return found;
}

__attribute__((constructor))
static void begin(void)
{
    const char *path = getenv("STAPLE_FAULTS");
    int fd = path ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *at = REAL(mmap)(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
                              MAP_SHARED, fd, 0);

        parent = getpid();
        control = at == MAP_FAILED ? NULL : at;
        close(fd);
    }
}

static unsigned whose(void)
{
    char name[17] = "";

    if (getpid() == parent) {
        return PARENT;
    }
    prctl(PR_GET_NAME, name);
    return strcmp(name, REFRESHER) ? CHILD : IN_REFRESHER;
}

static int note_code(struct dl_phdr_info *info, size_t size, void *unused)
{
    int i;

    (void)size;
    (void)unused;
    if (!info->dlpi_name || !strstr(info->dlpi_name, MODULE)) {
        return 0;
    }
    for (i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            atomic_store(&code_from, info->dlpi_addr + part->p_vaddr);
            atomic_store(&code_to, info->dlpi_addr + part->p_vaddr
                                   + part->p_memsz);
        }
    }
    return 1;
}

/* httpd unloads its modules and loads them again, elsewhere perhaps. */
static void find_code(void)
{
    static atomic_uint looks;

    if (!atomic_load(&code_from) || atomic_fetch_add(&looks, 1) % 1024 == 0) {
        dl_iterate_phdr(note_code, NULL);
    }
}

static uintptr_t end_of_stack(void)
{
    pthread_attr_t attr;
    void *base;
    size_t size;

    if (!stack_end) {
        stack_end = (uintptr_t)__libc_stack_end;
        if (pthread_getattr_np(pthread_self(), &attr) == 0) {
            if (pthread_attr_getstack(&attr, &base, &size) == 0) {
                stack_end = (uintptr_t)base + size;
            }
            pthread_attr_destroy(&attr);
        }
    }
    return stack_end;
}

__attribute__((no_sanitize("address")))
static int is_ours(void)
{
    const uintptr_t *word = __builtin_frame_address(0);
    uintptr_t end = (uintptr_t)word + STACK_LOOK;
    uintptr_t from, to;

    find_code();
    from = atomic_load(&code_from);
    to = atomic_load(&code_to);
    if (end > end_of_stack()) {
        end = end_of_stack();
    }
    for (; (uintptr_t)(word + 1) <= end; word++) {
        if (*word >= from && *word < to) {
            return 1;
        }
    }
    return 0;
}

static unsigned mixed(unsigned x)
{
    x = (x ^ x >> 16) * 0x7feb352dU;
    x = (x ^ x >> 15) * 0x846ca68bU;
    return x ^ x >> 16;
}

static int is_hit(unsigned count)
{
    unsigned nth = atomic_load(&control->nth);
    unsigned rate = atomic_load(&control->rate);

    return nth ? count == nth
               : rate && mixed(atomic_load(&control->seed) + count) % rate == 0;
}

/* Not by snprintf: it may be malloc() that fails. */
static void note_what(const char *what)
{
    size_t i;

    for (i = 0; i < sizeof(control->what) - 1 && what[i]; i++) {
        control->what[i] = what[i];
    }
    control->what[i] = '\0';
}

/* Whether this call is to fail. */
static int fails(enum kind kind, const char *what)
{
    int is_it = 0, before = errno;

    if (!control || is_busy
        || !(atomic_load(&control->kinds) & 1U << kind)) {
        return 0;
    }
    is_busy++;
    if ((atomic_load(&control->who) & whose())
        && (!atomic_load(&control->scope) || is_ours())) {
        is_it = is_hit(atomic_fetch_add(&control->count, 1) + 1);
    }
    if (is_it) {
        note_what(what);
        atomic_fetch_add(&control->fired, 1);
    }
    is_busy--;
    errno = before;
    return is_it;
}

/* A whole function: the call itself, or its error. */
#define FAIL_AT(kind, what, error, result) \
    do { \
        if (fails(kind, what)) { \
            errno = error; \
            return result; \
        } \
    } while (0)
#define FAIL(kind, error, result) FAIL_AT(kind, __func__, error, result)

void *malloc(size_t size)
{
    FAIL(MALLOC, ENOMEM, NULL);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    FAIL(MALLOC, ENOMEM, NULL);
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    FAIL(MALLOC, ENOMEM, NULL);
    return __libc_realloc(old, size);
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    FAIL(MMAP, ENOMEM, MAP_FAILED);
    return REAL(mmap)(at, size, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int prot, int flags, int fd,
             off64_t offset)
{
    FAIL(MMAP, ENOMEM, MAP_FAILED);
    return REAL(mmap64)(at, size, prot, flags, fd, offset);
}

#define OPEN_LIKE(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list args; \
        mode_t mode; \
        \
        va_start(args, flags); \
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
        va_end(args); \
        FAIL_AT(OPEN, path, EACCES, -1); \
        return REAL(name)(path, flags, mode); \
    }

OPEN_LIKE(open)
OPEN_LIKE(open64)

FILE *fopen(const char *path, const char *mode)
{
    FAIL_AT(OPEN, path, EACCES, NULL);
    return REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    FAIL_AT(OPEN, path, EACCES, NULL);
    return REAL(fopen64)(path, mode);
}

ssize_t read(int fd, void *to, size_t size)
{
    FAIL(READ, EIO, -1);
    return REAL(read)(fd, to, size);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    FAIL(READ, EIO, -1);
    return REAL(pread)(fd, to, size, offset);
}

ssize_t recv(int fd, void *to, size_t size, int flags)
{
    FAIL(READ, ECONNRESET, -1);
    return REAL(recv)(fd, to, size, flags);
}

ssize_t write(int fd, const void *from, size_t size)
{
    FAIL(WRITE, ENOSPC, -1);
    return REAL(write)(fd, from, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    FAIL(WRITE, EPIPE, -1);
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t offset)
{
    FAIL(WRITE, ENOSPC, -1);
    return REAL(pwrite)(fd, from, size, offset);
}

ssize_t send(int fd, const void *from, size_t size, int flags)
{
    FAIL(WRITE, EPIPE, -1);
    return REAL(send)(fd, from, size, flags);
}

int ftruncate(int fd, off_t size)
{
    FAIL(WRITE, ENOSPC, -1);
    return REAL(ftruncate)(fd, size);
}

int fsync(int fd)
{
    FAIL(FSYNC, EIO, -1);
    return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    FAIL(FSYNC, EIO, -1);
    return REAL(fdatasync)(fd);
}

int msync(void *at, size_t size, int flags)
{
    FAIL(FSYNC, EIO, -1);
    return REAL(msync)(at, size, flags);
}

static const char *name_of_family(int family)
{
    switch (family) {
    case AF_INET:
        return "to an IPv4 address";
    case AF_INET6:
        return "to an IPv6 address";
    case AF_UNIX:
        return "to a process of this host";
    default:
        return "to the kernel";
    }
}

int socket(int domain, int type, int protocol)
{
    FAIL_AT(SOCKET, name_of_family(domain), EMFILE, -1);
    return REAL(socket)(domain, type, protocol);
}

int pipe(int ends[2])
{
    FAIL(SOCKET, EMFILE, -1);
    return REAL(pipe)(ends);
}

int pipe2(int ends[2], int flags)
{
    FAIL(SOCKET, EMFILE, -1);
    return REAL(pipe2)(ends, flags);
}

int epoll_create(int size)
{
    FAIL(SOCKET, EMFILE, -1);
    return REAL(epoll_create)(size);
}

int epoll_create1(int flags)
{
    FAIL(SOCKET, EMFILE, -1);
    return REAL(epoll_create1)(flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    FAIL_AT(CONNECT, name_of_family(address->sa_family), ENETUNREACH, -1);
    return REAL(connect)(fd, address, len);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    FAIL(POLL, ENOMEM, -1);
    return REAL(poll)(fds, count, timeout);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    FAIL(POLL, EINTR, -1);
    return REAL(epoll_wait)(fd, events, count, timeout);
}

int epoll_ctl(int fd, int op, int which, struct epoll_event *event)
{
    FAIL_AT(POLL, op == EPOLL_CTL_ADD ? "epoll_ctl, to watch one more"
                                      : "epoll_ctl, to watch one less",
            ENOMEM, -1);
    return REAL(epoll_ctl)(fd, op, which, event);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                   void *(*run)(void *), void *data)
{
    if (fails(THREAD, __func__)) {
        return EAGAIN;
    }
    return REAL(pthread_create)(thread, attr, run, data);
}

pid_t fork(void)
{
    FAIL(FORK, EAGAIN, -1);
    return REAL(fork)();
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    if (fails(GETADDRINFO, __func__)) {
        return EAI_MEMORY;
    }
    return REAL(getaddrinfo)(host, service, hints, list);
}

int __res_init(void) /* NOLINT(*-reserved-identifier,*-dcl37-c,*-dcl51-cpp) */
{
    FAIL_AT(GETADDRINFO, "res_init", ENOMEM, -1);
    return REAL(__res_init)();
}

int rename(const char *from, const char *to)
{
    FAIL_AT(RENAME, to, EACCES, -1);
    return REAL(rename)(from, to);
}
