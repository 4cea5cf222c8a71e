/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_MEMORY_H
#define STAPLE_MEMORY_H

/*
 * Memory that the processes of a server share: of one kind, which a single
 * process may write and all others only read, and of another, which all of
 * them may write.
 *
 * Where the platform has it (Linux: memfd_create and /proc), a process that
 * may only read cannot make its mapping writable either, not with mprotect
 * nor in another way: it was mapped from a descriptor that was opened for
 * reading. Elsewhere, and where a sandbox refuses what this takes, it is
 * anonymous memory which is merely not mapped writable: that stops a stray
 * write, but not a process that means to write.
 *
 * The order of calls for the first kind:
 *
 *   parent        staple_memory_make      maps it for reading
 *   the writer    staple_memory_write     after its fork: maps it for writing
 *   other child   staple_memory_disown    after its fork: cannot write any more
 *   parent        staple_memory_free      when nobody is to begin writing again
 *
 * The parent keeps the descriptor that it takes to write, so that it can
 * fork another writer when one has died. No exec hands it on.
 *
 * Memory is counted as shmem against the limit of a control group (systemd:
 * MemoryMax), once for all processes. Nothing here logs or takes a lock; each
 * function is called by one thread of a process.
 */

#include <apr.h>
#include <apr_errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Some shared memory as this process has it. Plain values, so that a parent
 * can keep it while its pools come and go; only staple_memory_* change them.
 */
typedef struct staple_memory_t {
    void *base;      /* the mapping, aligned to a page; NULL: there is none */
    apr_size_t size; /* bytes */
    int fd;          /* what a later writer maps; -1: none is needed, or it is
                        not this process that may have one */
} staple_memory_t;

/**
 * Make memory with one writer. In the parent, which may only read it.
 * @param content what it begins with, `size` bytes; NULL: all 0
 * @param weaker NULL, or why a reader could make its mapping writable ("the
 *               system has no memfd_create"); constant
 * @return APR_SUCCESS, or why there is no memory of any kind; base is NULL then
 */
apr_status_t staple_memory_make(staple_memory_t *memory, const void *content,
                                apr_size_t size, const char **weaker);

/**
 * Make memory that every process may write, all 0. Nobody should trust what
 * is in it. It needs neither staple_memory_write nor staple_memory_disown.
 */
apr_status_t staple_memory_make_open(staple_memory_t *memory, apr_size_t size);

/**
 * Become the writer. In a process that was forked to be it, after the one
 * before has ended. The address stays. The descriptor is closed: a program
 * that this process starts, or whoever takes it over, finds the mapping alone.
 * @return APR_SUCCESS; else the mapping is as before
 */
apr_status_t staple_memory_write(staple_memory_t *memory);

/** Give up what it takes to write. In each child that is not the writer. */
void staple_memory_disown(staple_memory_t *memory);

/** Give back mapping and descriptor; what other processes have mapped stays. */
void staple_memory_free(staple_memory_t *memory);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_MEMORY_H */
