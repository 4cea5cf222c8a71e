/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the file's owner asks of the refresher: a few words in the header of
 * the ring's file, written by a program such as staplectl and taken by the
 * thread that copies.
 *
 * The one idea: a word that is 0 belongs to whoever asks, a word that is not
 * belongs to whoever takes. Programs that ask at the same time take turns by a
 * lock on these bytes. The refresher acts on these words and on nothing else of
 * the file, which it reads only to compare it with the ring; and what is not a
 * request for a slot that exists is made 0.
 */

#include "segment.h"
#include "staple_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <apr_errno.h>

#define ASKED_OFFSET ((off_t)offsetof(header_t, asked))

/* How often is looked whether the lock is free, and a request taken. */
#define LOOK_SPAN apr_time_from_msec(50)

static off_t place_of(int i)
{
    return ASKED_OFFSET + (off_t)i * (off_t)sizeof(apr_uint64_t);
}

static int put_asked(int fd, int i, apr_uint64_t word)
{
    return pwrite(fd, &word, sizeof(word), place_of(i)) == sizeof(word);
}

static int get_asked(int fd, int i, apr_uint64_t *word)
{
    return pread(fd, word, sizeof(*word), place_of(i)) == sizeof(*word);
}

/* ---- Who takes. ---- */

void staple_cache_take_asked(staple_cache_t *cache)
{
    int fd = cache->file, i;
    apr_uint64_t words[STAPLE_CACHE_ASKED];

    if (pread(fd, words, sizeof(words), ASKED_OFFSET) != sizeof(words)) {
        return;
    }
    for (i = 0; i < STAPLE_CACHE_ASKED; i++) {
        if (words[i]
            && staple_cache_put_request(cache, cache->asked, STAPLE_CACHE_ASKED,
                                        (int)(words[i] >> 32),
                                        (apr_uint32_t)words[i])
               != APR_EAGAIN) {
            put_asked(fd, i, 0);
        }
    }
}

/* ---- Who asks. ---- */

/* Whether this is the file that was read: its slots have the same ids. */
static int has_slot(const staple_cache_t *cache, int fd, int slot)
{
    const slot_t *known = slot_of(cache, slot);
    unsigned char header[offsetof(header_t, head)];
    unsigned char id[STAPLE_ID_LEN];
    off_t at;

    if (!known
        || pread(fd, header, sizeof(header), 0) != sizeof(header)
        || memcmp(header, cache->header, sizeof(header))) {
        return 0;
    }
    at = (off_t)(cache->header->slots_offset
                 + (apr_uint64_t)slot * sizeof(slot_t) + offsetof(slot_t, id));
    return pread(fd, id, sizeof(id), at) == sizeof(id)
           && !memcmp(id, known->id, sizeof(id));
}

static apr_status_t set_lock(int fd, short type)
{
    struct flock lock;

    memset(&lock, 0, sizeof(lock));
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = ASKED_OFFSET;
    lock.l_len = STAPLE_CACHE_ASKED * sizeof(apr_uint64_t);
    return fcntl(fd, F_SETLK, &lock) ? errno : APR_SUCCESS;
}

/* Others of the same user may ask just now, or have stopped while they did. On
 * NFS the lock that a server has of the whole file is one of this kind. */
static apr_status_t lock_asked(int fd, apr_time_t until)
{
    for (;;) {
        apr_status_t rv = set_lock(fd, F_WRLCK);

        if (rv != EAGAIN && rv != EACCES) {
            return rv;
        }
        if (staple_clock_now() >= until) {
            return APR_EBUSY;
        }
        apr_sleep(LOOK_SPAN);
    }
}

/* @param place where the request was left */
static apr_status_t write_request(int fd, apr_uint64_t request, int *place)
{
    apr_uint64_t word;
    int i;

    for (i = 0; i < STAPLE_CACHE_ASKED; i++) {
        if (!get_asked(fd, i, &word)) {
            return APR_EGENERAL;
        }
        if (!word) {
            *place = i;
            return put_asked(fd, i, request) ? APR_SUCCESS : APR_EGENERAL;
        }
    }
    return APR_EAGAIN;
}

static apr_status_t await_taker(int fd, int place, apr_uint64_t request,
                                apr_time_t until)
{
    apr_uint64_t word;

    while (get_asked(fd, place, &word)) {
        if (word != request) {
            return APR_SUCCESS;
        }
        if (staple_clock_now() >= until) {
            return put_asked(fd, place, 0) ? APR_TIMEUP : APR_EGENERAL;
        }
        apr_sleep(LOOK_SPAN);
    }
    return APR_EGENERAL;
}

static apr_status_t pass_request(int fd, apr_uint64_t request,
                                 apr_interval_time_t patience)
{
    apr_time_t until = staple_clock_now() + patience;
    int place = 0;
    apr_status_t rv = lock_asked(fd, until);

    if (!rv) {
        rv = write_request(fd, request, &place);
        set_lock(fd, F_UNLCK);
    }
    return rv ? rv : await_taker(fd, place, request, until);
}

apr_status_t staple_cache_ask(const staple_cache_t *cache, const char *path,
                              int slot, apr_uint32_t what,
                              apr_interval_time_t patience)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    apr_status_t rv = APR_EINVAL;

    if (fd < 0) {
        return errno;
    }
    if (has_slot(cache, fd, slot)) {
        rv = pass_request(fd, (apr_uint64_t)slot << 32 | what, patience);
    }
    close(fd);
    return rv;
}
