/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Shared memory with one writer: who may write it, who cannot, and what is
 * left of that where the system refuses what it takes.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "staple_memory.h"

#include "tap.h"

#define SIZE ((apr_size_t)100000) /* no multiple of a page */

/* What a test does in a process of its own. */
typedef int (*job_t)(staple_memory_t *memory);

/* Its exit code, or -1 where a signal ended it. */
static int run(job_t job, staple_memory_t *memory)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(job(memory));
    }
    if (waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int scribble(staple_memory_t *memory)
{
    *(volatile char *)memory->base = 'x';
    return 0;
}

/* Whether a process can write. One that cannot ends by a signal, of which a
 * sanitizer makes an exit. */
static int can_write(staple_memory_t *memory)
{
    return run(scribble, memory) == 0;
}

/* 0: it could be made writable. */
static int make_writable(staple_memory_t *memory)
{
    staple_memory_disown(memory);
    return mprotect(memory->base, memory->size, PROT_READ | PROT_WRITE) ? errno
                                                                        : 0;
}

static int write_hello(staple_memory_t *memory)
{
    int fd = memory->fd;

    if (staple_memory_write(memory)) {
        return 1;
    }
    memcpy((char *)memory->base + SIZE - 6, "hello", 6);
    return fd >= 0 && fcntl(fd, F_GETFD) != -1 ? 2 : 0; /* closed? */
}

static int cut_short(staple_memory_t *memory)
{
    if (memory->fd < 0) {
        return 0;
    }
    return ftruncate(memory->fd, 0) || ftruncate(memory->fd, 2 * SIZE) ? errno
                                                                       : 0;
}

static void check_writer(staple_memory_t *memory, const char *what)
{
    is_int(run(write_hello, memory), 0,
           "a forked process becomes the writer");
    is_str((char *)memory->base + SIZE - 6, "hello", what);
    is_int(run(write_hello, memory), 0, "and another one after it");
    ok(!can_write(memory), "who is not the writer cannot write");
}

static void test_make(void)
{
    static char content[SIZE];
    staple_memory_t memory;
    const char *weaker;

    memset(content, 'a', SIZE);
    ok(staple_memory_make(&memory, content, SIZE, &weaker) == APR_SUCCESS
       && memory.size == SIZE && !memcmp(memory.base, content, SIZE),
       "memory begins with what it is given");
    check_writer(&memory, "what a writer writes is seen in the parent");
#ifdef __linux__
    is_str(weaker, NULL, "Linux has all that it takes");
    is_int(run(make_writable, &memory), EACCES,
           "mprotect cannot make a reader a writer");
    is_int(run(cut_short, &memory), EPERM,
           "its size cannot be changed below a mapping");
    ok(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC, "no exec hands it on");
#endif
    staple_memory_free(&memory);
    ok(!memory.base && memory.fd == -1, "nothing is left of it");
    ok(staple_memory_make(&memory, NULL, SIZE, &weaker) == APR_SUCCESS
       && !*(char *)memory.base && !memcmp(memory.base,
                                           (char *)memory.base + 1, SIZE - 1),
       "without content it is all 0");
    staple_memory_free(&memory);
}

static int write_open(staple_memory_t *memory)
{
    ((char *)memory->base)[SIZE - 1] = 'w';
    return 0;
}

static void test_open(void)
{
    staple_memory_t memory;

    is_int(staple_memory_make_open(&memory, SIZE), APR_SUCCESS,
           "memory that all may write");
    run(write_open, &memory);
    ok(((char *)memory.base)[SIZE - 1] == 'w' && memory.fd == -1,
       "a child writes it, and there is no descriptor");
    staple_memory_free(&memory);
}

/* ----- what is refused ----- */

/* 0: as it should be where readers are weaker. */
static int is_well_without(void)
{
    char content[SIZE];
    staple_memory_t memory;
    const char *weaker;

    memset(content, 'b', SIZE);
    if (staple_memory_make(&memory, content, SIZE, &weaker) || !weaker
        || memory.fd != -1 || memcmp(memory.base, content, SIZE)) {
        return 1;
    }
    if (run(write_hello, &memory)
        || strcmp((char *)memory.base + SIZE - 6, "hello")) {
        return 2;
    }
    return can_write(&memory) ? 3 : 0;
}

static int without_large_files(staple_memory_t *memory)
{
    struct rlimit limit = { 4096, 4096 };

    (void)memory;
    return setrlimit(RLIMIT_FSIZE, &limit) ? 9 : is_well_without();
}

#if defined(__linux__) && defined(SYS_memfd_create)

/* A filter that refuses one system call. */
static int refuse(long number)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };
    struct sock_fprog filter = { 4, steps };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
           || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static int without_memfd(staple_memory_t *memory)
{
    (void)memory;
    return refuse(SYS_memfd_create) ? 9 : is_well_without();
}

static int without_open(staple_memory_t *memory)
{
    (void)memory;
    return refuse(SYS_openat) ? 9 : is_well_without();
}

static void check_refused(job_t job, const char *what)
{
    int code = run(job, NULL);

    if (code == 9) {
        ok(1, "%s # SKIP this system has no filter for system calls", what);
        return;
    }
    is_int(code, 0, what);
}

static void test_filters(void)
{
    check_refused(without_memfd, "it does without memfd_create");
    check_refused(without_open, "it does without /proc");
}

#else

static void test_filters(void)
{
}

#endif

int main(void)
{
    test_make();
    test_open();
    is_int(run(without_large_files, NULL), 0,
           "it does where files may not be so large");
    test_filters();
    return tap_done();
}
