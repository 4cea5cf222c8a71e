/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The copy of the ring in its file: the thread of the writer that brings it up
 * to date, once a second, and sooner where nothing had changed before.
 *
 * The one idea: the file is laid out as the segment is, so each slot and each
 * record has its place in both, and whoever writes to a slot notes that it has
 * changed. A round writes these: first the records that are new, in the order
 * in which they lie there, then their slots, at last the header; what lies side
 * by side is written at once. Where nothing has changed, no slot is looked at.
 * Nobody else writes the file. So when it has another size or other times than
 * this process left it with, somebody has interfered: then nothing is believed,
 * the next round reads the file and writes whatever is not as it should be.
 *
 * A crash between the writes leaves a slot whose record is missing or
 * torn; the checksum of the record says so to whoever reads it. No fsync is
 * worth its price here: what a crash can lose is fetched again.
 */

#include "helper.h"
#include "segment.h"
#include "staple_clock.h"
#include "staple_magic.h"
#include "staple_wait.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>

#include <apr_thread_proc.h>
#include <apr_time.h>

#define ROUND_SPAN apr_time_from_sec(1)

/* After a round in which nothing was written, what changes is written soon, and
 * what changes with it, too. */
#define NEWS_SPAN apr_time_from_msec(100)

/* While nothing changes, the file's time says that the server lives. */
#define TOUCH_SPAN apr_time_from_sec(10)

/* A change of the file that left no other times: looked for this often. */
#define DOUBT_SPAN apr_time_from_sec(600)

/* The largest record: its first block, and the response in blocks. */
#define RECORD_MAX (sizeof(record_t) + STAPLE_CACHE_DER_MAX)

/* How much is written at once, and how much is read to compare it. */
#define RUN_MAX RECORD_MAX
#define READ_MAX ((apr_size_t)16384)

/* How often a record is copied anew because it was replaced meanwhile. */
#define COPY_TRIES 8

#define COPY_MAGIC 0x434F5059u

/* What the file has of a slot. */
typedef struct known_t {
    apr_uint64_t mark;    /* of the record; 0: none */
    apr_uint64_t counted; /* handshakes */
} known_t;

/* A slot of which the file lacks something. */
typedef struct lacking_t {
    apr_uint32_t slot;
    int is_settled;    /* the file has the record of this mark: */
    apr_uint64_t mark; /* 0: none */
} lacking_t;

/* Bytes that are to be written side by side. */
typedef struct run_t {
    apr_uint64_t offset; /* in the file */
    apr_size_t size;     /* 0: nothing is */
    unsigned char bytes[RUN_MAX];
} run_t;

typedef struct staple_cache_copy_t {
    staple_magic_t magic;
    staple_cache_t *cache;
    word_t *changed;       /* a bit for each slot that has changed since */
    word_t has_changed;    /* 1: some have */
    known_t *slots;        /* what the file has of each slot */
    lacking_t *lacking;    /* room for all slots */
    run_t run;
    header_t header;       /* and of the header */
    int is_known;          /* whether it has that: else it has to be read */
    struct stat left;      /* how the last round left the file */
    apr_time_t written_at; /* when something was written last */
    apr_time_t read_at;    /* when all of it was compared last; both moments
                              are of the clock that never jumps */
    int has_written;       /* in this round */
    apr_int64_t edition;   /* which file it is; 0: there was none yet */
    int was_there;         /* its name was seen */
    unsigned char record[RECORD_MAX], there[READ_MAX];

    staple_cache_copied_fn *report;
    void *baton;
    apr_status_t reported;

    staple_wait_t *wait; /* guards what follows; NULL: there is no thread */
    int is_to_end;
    int has_ended;
    int is_complete; /* of the last round */
} copy_t;

/* ----- the file ----- */

static apr_status_t write_whole(int fd, const void *from, apr_size_t size,
                                apr_uint64_t offset)
{
    apr_size_t done = 0;

    while (done < size) {
        ssize_t n = pwrite(fd, (const char *)from + done, size - done,
                           (off_t)(offset + done));

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return n < 0 ? errno : ENOSPC;
        }
        done += n > 0 ? (apr_size_t)n : 0;
    }
    return APR_SUCCESS;
}

/* Whether the file has these bytes; an error of the disk is a no. */
static int has_bytes(copy_t *copy, const void *bytes, apr_size_t size,
                     apr_uint64_t offset)
{
    apr_size_t done = 0;

    while (done < size) {
        apr_size_t left = size - done;
        ssize_t n = pread(copy->cache->file, copy->there,
                          left < READ_MAX ? left : READ_MAX,
                          (off_t)(offset + done));

        if (n <= 0 || memcmp(copy->there, (const char *)bytes + done,
                             (apr_size_t)n)) {
            return 0;
        }
        done += (apr_size_t)n;
    }
    return 1;
}

static apr_status_t put_bytes(copy_t *copy, const void *bytes,
                              apr_size_t size, apr_uint64_t offset)
{
    if (!copy->is_known && has_bytes(copy, bytes, size, offset)) {
        return APR_SUCCESS;
    }
    copy->has_written = 1;
    return write_whole(copy->cache->file, bytes, size, offset);
}

static apr_status_t end_run(copy_t *copy)
{
    run_t *run = &copy->run;
    apr_size_t size = run->size;

    run->size = 0;
    return size ? put_bytes(copy, run->bytes, size, run->offset)
                : APR_SUCCESS;
}

/* The same as put_bytes, sooner or later: at the latest by end_run. */
static apr_status_t add_bytes(copy_t *copy, const void *bytes,
                              apr_size_t size, apr_uint64_t offset)
{
    run_t *run = &copy->run;
    apr_status_t rv = APR_SUCCESS;

    if (offset != run->offset + run->size || run->size + size > RUN_MAX) {
        rv = end_run(copy);
    }
    if (!run->size) {
        run->offset = offset;
    }
    memcpy(run->bytes + run->size, bytes, size);
    run->size += size;
    return rv;
}

static int same_moment(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec
           && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec
           && a->st_ctim.tv_sec == b->st_ctim.tv_sec
           && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Where somebody has interfered, nothing is believed; the size is put right
 * at once, because the rest is written in its place. */
static apr_status_t examine_file(copy_t *copy, apr_time_t now)
{
    off_t size = (off_t)copy->cache->length;
    struct stat st;

    if (fstat(copy->cache->file, &st)) {
        return errno;
    }
    if (!same_moment(&st, &copy->left) || st.st_size != size
        || now - copy->read_at > DOUBT_SPAN) {
        copy->is_known = 0;
    }
    if (st.st_size == size) {
        return APR_SUCCESS;
    }
    return ftruncate(copy->cache->file, size) ? errno : APR_SUCCESS;
}

/* Take the file that was made last, where that is another one. */
static void look_for_file(copy_t *copy)
{
    staple_cache_t *cache = copy->cache;
    int fd = staple_cache_look_for_file(&cache->kept, &copy->edition);

    if (fd < 0) {
        return;
    }
    if (cache->file >= 0) {
        close(cache->file);
    }
    cache->file = fd;
    copy->is_known = 0;
    copy->was_there = 0;
}

/*
 * Whether the file has a name no more, or its name is another file's. Where
 * this process may not look into the directory, or is in another root
 * (ChrootDir), it never sees the name; then it notices what was deleted and
 * what was replaced, not what was renamed. What was deleted on another machine
 * is ESTALE on NFS.
 */
static int has_lost_name(copy_t *copy)
{
    struct stat st, named;
    int is_there;

    if (fstat(copy->cache->file, &st)) {
        return errno == ESTALE; /* else who writes will be told why */
    }
    if (!st.st_nlink) {
        return 1;
    }
    is_there = !lstat(copy->cache->path, &named)
               && named.st_dev == st.st_dev && named.st_ino == st.st_ino;
    copy->was_there |= is_there;
    return copy->was_there && !is_there;
}

/* ----- what has changed ----- */

void staple_cache_note_change(const staple_cache_t *cache, const void *word)
{
    copy_t *copy = cache->copy;
    apr_size_t i;

    if (copy) {
        i = (apr_size_t)((const char *)word - (const char *)cache->slots)
            / sizeof(slot_t);
        (void)change_note(&copy->changed[i / 64], i % 64);
        if (change_note(&copy->has_changed, 0) && copy->wait) {
            staple_wait_wake(copy->wait);
        }
    }
}

/* ----- a record ----- */

static void copy_blocks(const copy_t *copy, unsigned char *to,
                        apr_uint64_t block, apr_size_t count)
{
    apr_size_t i;

    for (i = 0; i < count; i++) {
        block_t bytes = block_get(block_words(copy->cache, block));

        block_copy(to + i * STAPLE_CACHE_BLOCK, &bytes);
        block = next_block(copy->cache, block);
    }
}

/* Copy the record that a mark names to copy->record; 0 bytes: there is none. */
static apr_size_t copy_record(copy_t *copy, apr_uint32_t slot,
                              apr_uint64_t mark)
{
    record_t record;
    apr_uint64_t bytes;

    if (!is_mark(mark)) {
        return 0;
    }
    bytes = record_at(copy->cache, marked(mark), &record);
    if (!bytes || record.slot != slot || bytes > RECORD_MAX) {
        return 0;
    }
    copy_blocks(copy, copy->record, block_at(copy->cache, marked(mark)),
                (apr_size_t)bytes / STAPLE_CACHE_BLOCK);
    return (apr_size_t)bytes;
}

/* A record that reaches the end of the data area goes on at its beginning. */
static apr_status_t put_record(copy_t *copy, apr_uint64_t mark,
                               apr_size_t bytes)
{
    const staple_cache_t *cache = copy->cache;
    apr_uint64_t begin = cache->header->data_offset;
    apr_uint64_t at = block_at(cache, marked(mark)) * STAPLE_CACHE_BLOCK;
    apr_size_t run = cache->data_size - at < bytes
                     ? (apr_size_t)(cache->data_size - at) : bytes;
    apr_status_t rv = add_bytes(copy, copy->record, run, begin + at);

    return rv || run == bytes
           ? rv : add_bytes(copy, copy->record + run, bytes - run, begin);
}

/* ----- a slot ----- */

static apr_uint64_t mark_in(const slot_t *image)
{
    apr_uint64_t served = word_get(&image->served);

    return served ? served : word_get(&image->pending);
}

static void picture_state(const staple_cache_t *cache, apr_uint32_t i,
                          slot_t *image)
{
    staple_cache_state_t state;
    state_words_t words;
    unsigned int word;

    staple_cache_state(cache, (int)i, &state);
    memcpy(words, &state, sizeof(words));
    for (word = 0; word < STAPLE_CACHE_STATE_WORDS; word++) {
        word_put(&image->state[word], words[word]);
    }
    word_put(&image->state_sum, state_sum(image, words));
}

/* The slot as it is to be in the file. */
static void picture_slot(const staple_cache_t *cache, apr_uint32_t i,
                         slot_t *image)
{
    const slot_t *slot = &cache->slots[i];
    staple_cache_served_t sum;

    memset(image, 0, sizeof(*image));
    word_put(&image->served, mark_take(&slot->served));
    word_put(&image->pending, mark_take(&slot->pending));
    memcpy(image->id, slot->id, sizeof(image->id));
    wanted_put(image, wanted_get(slot));
    picture_state(cache, i, image);
    staple_cache_served(cache, (int)i, &sum);
    word_put(&image->served_count, sum.served);
    word_put(&image->missed_count, sum.missed);
    image->label = slot->label;
}

/* What a slot has: it is served, or it is pending. */
static const word_t *word_of(const slot_t *slot)
{
    return mark_take(&slot->served) ? &slot->served : &slot->pending;
}

/*
 * Take the record that a slot points at, to copy->record. It counts only if the
 * slot points there still when it has been copied.
 * @return whether it does
 */
static int take_record(copy_t *copy, lacking_t *lacking, apr_size_t *bytes)
{
    const slot_t *slot = &copy->cache->slots[lacking->slot];
    int tries;

    for (tries = 0; tries < COPY_TRIES; tries++) {
        const word_t *word = word_of(slot);

        lacking->mark = mark_take(word);
        *bytes = copy_record(copy, lacking->slot, lacking->mark);
        if (mark_still(word, lacking->mark)) {
            return 1;
        }
    }
    return 0;
}

/* Whether the file lacks something of the slot; counts alone are no reason to
 * write, but at the end. */
static int is_lacking(copy_t *copy, apr_uint32_t i, int with_counts)
{
    int has_changed = change_take(&copy->changed[i / 64], i % 64);
    staple_cache_served_t sum;

    if (has_changed || !copy->is_known || !with_counts) {
        return has_changed || !copy->is_known;
    }
    staple_cache_served(copy->cache, (int)i, &sum);
    return sum.served + sum.missed != copy->slots[i].counted;
}

static apr_size_t collect_lacking(copy_t *copy, int with_counts)
{
    apr_size_t count = 0;
    apr_uint32_t i;

    for (i = 0; i < copy->cache->slots_count; i++) {
        if (is_lacking(copy, i, with_counts)) {
            lacking_t *lacking = &copy->lacking[count++];

            lacking->slot = i;
            lacking->is_settled = 0;
            lacking->mark = mark_take(word_of(&copy->cache->slots[i]));
        }
    }
    return count;
}

static int by_mark(const void *a, const void *b)
{
    const lacking_t *one = a, *other = b;

    return (one->mark > other->mark) - (one->mark < other->mark);
}

static int by_slot(const void *a, const void *b)
{
    const lacking_t *one = a, *other = b;

    return (one->slot > other->slot) - (one->slot < other->slot);
}

static apr_status_t put_record_of(copy_t *copy, lacking_t *lacking)
{
    const known_t *known = &copy->slots[lacking->slot];
    apr_size_t bytes;

    lacking->is_settled = take_record(copy, lacking, &bytes);
    return lacking->is_settled && bytes
           && (!copy->is_known || lacking->mark != known->mark)
           ? put_record(copy, lacking->mark, bytes) : APR_SUCCESS;
}

/* A slot that points to another record by now is for the next round. */
static apr_status_t put_slot(copy_t *copy, const lacking_t *lacking)
{
    apr_uint32_t i = lacking->slot;
    known_t *known = &copy->slots[i];
    slot_t image;

    picture_slot(copy->cache, i, &image);
    if (!lacking->is_settled || mark_in(&image) != lacking->mark) {
        staple_cache_note_change(copy->cache, &copy->cache->slots[i]);
        return APR_SUCCESS;
    }
    known->mark = lacking->mark;
    known->counted = word_get(&image.served_count)
                     + word_get(&image.missed_count);
    return add_bytes(copy, &image, sizeof(image),
                     copy->cache->header->slots_offset + i * sizeof(slot_t));
}

static apr_status_t put_slots(copy_t *copy, int with_counts)
{
    int has_changed = change_take(&copy->has_changed, 0);
    apr_status_t rv = APR_SUCCESS;
    apr_size_t count, i;

    if (!has_changed && copy->is_known && !with_counts) {
        return APR_SUCCESS;
    }
    copy->run.size = 0; /* what a round that failed could not write */
    count = collect_lacking(copy, with_counts);
    qsort(copy->lacking, count, sizeof(*copy->lacking), by_mark);
    for (i = 0; !rv && i < count; i++) {
        rv = put_record_of(copy, &copy->lacking[i]);
    }
    rv = rv ? rv : end_run(copy);
    qsort(copy->lacking, count, sizeof(*copy->lacking), by_slot);
    for (i = 0; !rv && i < count; i++) {
        rv = put_slot(copy, &copy->lacking[i]);
    }
    return rv ? rv : end_run(copy);
}

/* ----- the header ----- */

/* Without the journal, which no slot of the file refers to, and without what
 * is said of the copy. What is asked in the file is not of the picture. */
static void picture_header(const staple_cache_t *cache, header_t *image)
{
    const apr_size_t first = offsetof(header_t, head);
    const word_t *from = &cache->header->head;
    word_t *to = &image->head;
    apr_size_t i;

    memset(image, 0, sizeof(*image));
    memcpy(image, cache->header, first);
    for (i = 0; i < (sizeof(*image) - first) / sizeof(*to); i++) {
        word_put(&to[i], word_get(&from[i]));
    }
    memset(&image->copy_round, 0,
           offsetof(header_t, share_hits) - offsetof(header_t, copy_round));
}

/* On both sides of what is asked there, which belongs to the file's owner. */
static apr_status_t put_header_image(copy_t *copy, const header_t *image)
{
    const apr_size_t before = offsetof(header_t, asked);
    const apr_size_t behind = before + sizeof(image->asked);
    apr_status_t rv = put_bytes(copy, image, before, 0);

    return rv ? rv : put_bytes(copy, (const char *)image + behind,
                               sizeof(*image) - behind, behind);
}

static apr_status_t put_header(copy_t *copy, apr_time_t now)
{
    int is_late = now - copy->written_at > TOUCH_SPAN;
    apr_status_t rv;
    header_t image;

    picture_header(copy->cache, &image);
    if (copy->is_known && !memcmp(&image, &copy->header, sizeof(image))
        && (copy->has_written || !is_late)) {
        return APR_SUCCESS;
    }
    rv = put_header_image(copy, &image);
    if (!rv && is_late) { /* it says that the server lives */
        rv = write_whole(copy->cache->file, &image,
                         offsetof(header_t, head), 0);
    }
    copy->has_written |= is_late;
    memcpy(&copy->header, &image, sizeof(image));
    return rv;
}

/* ----- a round ----- */

/* What never changes, besides the header. */
static apr_status_t put_constants(copy_t *copy)
{
    const staple_cache_t *cache = copy->cache;
    apr_status_t rv = put_bytes(copy, cache->buckets,
                                cache->buckets_count * sizeof(*cache->buckets),
                                cache->header->buckets_offset);

    return rv ? rv : put_bytes(copy, cache->others,
                               cache->others_count * sizeof(*cache->others),
                               cache->header->others_offset);
}

static apr_status_t put_all(copy_t *copy, int with_counts, apr_time_t now)
{
    apr_status_t rv = copy->is_known ? APR_SUCCESS : put_constants(copy);

    if (!rv) {
        rv = put_slots(copy, with_counts);
    }
    return rv ? rv : put_header(copy, now);
}

static apr_status_t write_file(copy_t *copy, int with_counts)
{
    apr_time_t now = staple_clock_now();
    apr_status_t rv = examine_file(copy, now);

    copy->has_written = 0;
    if (!copy->is_known) {
        copy->read_at = now;
    }
    if (!rv) {
        rv = put_all(copy, with_counts, now);
    }
    if (!rv && fstat(copy->cache->file, &copy->left)) {
        rv = errno;
    }
    if (!rv && copy->has_written) {
        copy->written_at = now;
    }
    copy->is_known = !rv;
    return rv;
}

/* APR_ENOENT: there is no file, or none that anybody else would find. */
static apr_status_t round_of(copy_t *copy, int with_counts)
{
    header_t *header = copy->cache->header;
    apr_status_t rv = APR_ENOENT;

    look_for_file(copy);
    if (copy->cache->file >= 0 && !has_lost_name(copy)) {
        staple_cache_take_asked(copy->cache);
        rv = write_file(copy, with_counts);
    }
    word_put(&header->copy_status, (apr_uint64_t)rv);
    word_put(&header->copy_round, (apr_uint64_t)staple_clock_now());
    return rv;
}

static copy_t *make_copy(staple_cache_t *cache, apr_pool_t *p)
{
    copy_t *copy = apr_pcalloc(p, sizeof(*copy));

    copy->magic = COPY_MAGIC;
    copy->cache = cache;
    copy->slots = apr_pcalloc(p, (cache->slots_count + (apr_size_t)1)
                                 * sizeof(*copy->slots));
    copy->lacking = apr_pcalloc(p, (cache->slots_count + (apr_size_t)1)
                                   * sizeof(*copy->lacking));
    copy->changed = apr_pcalloc(p, (cache->slots_count / 64 + (apr_size_t)1)
                                   * sizeof(*copy->changed));
    return copy;
}

apr_status_t staple_cache_copy_round(staple_cache_t *cache, int with_counts,
                                     apr_pool_t *p)
{
    if (!cache->copy) {
        cache->copy = make_copy(cache, p);
    }
    return round_of(cache->copy, with_counts);
}

/* ----- the thread ----- */

/* Of a file that is not there, the parent tells. */
static void report(copy_t *copy, apr_status_t rv)
{
    if (APR_STATUS_IS_ENOENT(rv)) {
        return;
    }
    if (copy->report && rv != copy->reported) {
        copy->report(copy->baton, rv);
    }
    copy->reported = rv;
}

static int is_news(const copy_t *copy)
{
    return !copy->has_written && word_get(&copy->has_changed);
}

/* @return whether to go on */
static int wait_for_round(copy_t *copy)
{
    apr_time_t now = staple_clock_now(), until = now + ROUND_SPAN;
    int is_to_end, is_soon = 0;

    staple_wait_lock(copy->wait);
    while (!copy->is_to_end && now < until) {
        if (!is_soon && is_news(copy)) {
            is_soon = 1;
            until = now + NEWS_SPAN < until ? now + NEWS_SPAN : until;
        }
        staple_wait_until(copy->wait, until);
        now = staple_clock_now();
    }
    is_to_end = copy->is_to_end;
    staple_wait_unlock(copy->wait);
    return !is_to_end;
}

static void *APR_THREAD_FUNC copy_on(apr_thread_t *thread, void *data)
{
    copy_t *copy = STAPLE_CAST(copy_t, COPY_MAGIC, data);
    apr_status_t rv;
    int goes_on;

    do {
        goes_on = wait_for_round(copy);
        rv = round_of(copy, !goes_on);
        report(copy, rv);
    } while (goes_on);
    staple_wait_lock(copy->wait);
    copy->is_complete = !rv;
    copy->has_ended = 1;
    staple_wait_wake(copy->wait);
    staple_wait_unlock(copy->wait);
    (void)thread;
    return NULL;
}

apr_status_t staple_cache_begin_copying(staple_cache_t *cache,
                                        staple_cache_copied_fn *report_to,
                                        void *baton, apr_pool_t *p)
{
    copy_t *copy;
    apr_status_t rv;

    if (!cache->path) {
        return APR_SUCCESS;
    }
    copy = make_copy(cache, p);
    look_for_file(copy);
    copy->report = report_to;
    copy->baton = baton;
    rv = staple_wait_make(&copy->wait, p);
    if (!rv) {
        cache->copy = copy; /* first: changes are noted from here on */
        rv = staple_wait_start(copy_on, copy, p);
    }
    if (rv) {
        cache->copy = NULL;
    }
    return rv;
}

int staple_cache_end_copying(staple_cache_t *cache,
                             apr_interval_time_t patience)
{
    apr_time_t until = staple_clock_now() + patience;
    copy_t *copy = cache->copy;
    int is_complete;

    if (!copy || !copy->wait) {
        return 1;
    }
    staple_wait_lock(copy->wait);
    copy->is_to_end = 1;
    staple_wait_wake(copy->wait);
    while (!copy->has_ended && staple_clock_now() < until) {
        staple_wait_until(copy->wait, until);
    }
    is_complete = copy->has_ended && copy->is_complete;
    staple_wait_unlock(copy->wait);
    return is_complete;
}
