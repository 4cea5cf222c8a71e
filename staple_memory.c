/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Memory that processes share, with one writer or with many.
 *
 * The one idea: on Linux, what a mapping may ever become is decided by the
 * descriptor that it was made from. So memory with one writer is a file
 * without a name (memfd_create) that is opened twice: the parent and its
 * children map the descriptor that can only read, the writer maps the other.
 * The file is sealed at its size, so that nobody can cut it short below a
 * mapping, and its mode allows no other user to open it a third time.
 */

#include "staple_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

static void clear(staple_memory_t *memory)
{
    memory->base = NULL;
    memory->size = 0;
    memory->fd = -1;
}

/* ----- a file without a name ----- */

#if defined(__linux__) && defined(SYS_memfd_create)

/* What headers older than the kernel do not know. */
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x1U
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 0x2U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 0x1
#define F_SEAL_SHRINK 0x2
#define F_SEAL_GROW 0x4
#endif

/* Kernels before 6.3 do not know that it will never be a program, and some
 * later ones insist on hearing it. */
static int create_nameless(void)
{
    const unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    long fd = syscall(SYS_memfd_create, "staple", flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) {
        fd = syscall(SYS_memfd_create, "staple", flags);
    }
    return (int)fd;
}

/* A write beyond RLIMIT_FSIZE ends the process with SIGXFSZ: ask before. */
static int is_above_limit(apr_size_t size)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0
           && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur;
}

/* All pages are reserved: one that is missing later would be a SIGBUS. */
static int fill(int fd, const void *content, apr_size_t size)
{
    apr_size_t done = 0;

    while (content && done < size) {
        ssize_t n = pwrite(fd, (const char *)content + done, size - done,
                           (off_t)done);

        if (n < 0 && errno != EINTR) {
            return errno;
        }
        done += n > 0 ? (apr_size_t)n : 0;
    }
    return content ? 0 : posix_fallocate(fd, 0, (off_t)size);
}

/* Open what a descriptor refers to once more, for reading alone. */
static int open_for_reading(int fd)
{
    char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Map a filled file for reading; NULL, or why that cannot be. */
static const char *map_for_reading(staple_memory_t *memory, int fd,
                                   apr_size_t size)
{
    int reading = open_for_reading(fd);
    void *base;

    if (reading < 0) {
        return "/proc/self/fd cannot be used";
    }
    base = mmap(NULL, size, PROT_READ, MAP_SHARED, reading, 0);
    close(reading);
    if (base == MAP_FAILED) {
        return "memory cannot be mapped for reading alone";
    }
    memory->base = base;
    memory->size = size;
    memory->fd = fd;
    return NULL;
}

static const char *make_nameless(staple_memory_t *memory, const void *content,
                                 apr_size_t size)
{
    const char *why = "a file without a name cannot be filled and sealed";
    int fd;

    if (is_above_limit(size)) {
        return "the limit on the size of files (RLIMIT_FSIZE) is too low";
    }
    fd = create_nameless();
    if (fd < 0) {
        return "memfd_create is refused by the system";
    }
    if (!fill(fd, content, size) && !fchmod(fd, S_IRUSR | S_IWUSR)
        && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        why = map_for_reading(memory, fd, size);
    }
    if (why) {
        close(fd);
    }
    return why;
}

#else

static const char *make_nameless(staple_memory_t *memory, const void *content,
                                 apr_size_t size)
{
    (void)memory;
    (void)content;
    (void)size;
    return "the system has no memfd_create";
}

#endif

/* ----- anonymous memory ----- */

apr_status_t staple_memory_make_open(staple_memory_t *memory, apr_size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    clear(memory);
    if (base == MAP_FAILED) {
        return errno;
    }
    memory->base = base;
    memory->size = size;
    return APR_SUCCESS;
}

static apr_status_t make_anonymous(staple_memory_t *memory,
                                   const void *content, apr_size_t size)
{
    apr_status_t rv = staple_memory_make_open(memory, size);

    if (rv) {
        return rv;
    }
    if (content) {
        memcpy(memory->base, content, size);
    }
    if (mprotect(memory->base, size, PROT_READ)) {
        rv = errno;
        staple_memory_free(memory);
    }
    return rv;
}

/* ----- memory with one writer ----- */

apr_status_t staple_memory_make(staple_memory_t *memory, const void *content,
                                apr_size_t size, const char **weaker)
{
    clear(memory);
    *weaker = make_nameless(memory, content, size);
    return *weaker ? make_anonymous(memory, content, size) : APR_SUCCESS;
}

/* With MAP_FIXED the new mapping takes the place of the old one in one step. */
apr_status_t staple_memory_write(staple_memory_t *memory)
{
    const int both = PROT_READ | PROT_WRITE;

    if (memory->fd < 0) {
        return mprotect(memory->base, memory->size, both) ? errno
                                                          : APR_SUCCESS;
    }
    if (mmap(memory->base, memory->size, both, MAP_SHARED | MAP_FIXED,
             memory->fd, 0) == MAP_FAILED) {
        return errno;
    }
    staple_memory_disown(memory);
    return APR_SUCCESS;
}

void staple_memory_disown(staple_memory_t *memory)
{
    if (memory->fd >= 0) {
        close(memory->fd);
        memory->fd = -1;
    }
}

void staple_memory_free(staple_memory_t *memory)
{
    staple_memory_disown(memory);
    if (memory->base) {
        munmap(memory->base, memory->size);
    }
    clear(memory);
}
