/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Any bytes may be found at the path of the ring. Whatever they are: nothing
 * crashes, what is taken for a record is bounded, and once opened the ring can
 * be read, written and carried over.
 *
 * The first byte of an input says what is put right before the rest goes into
 * a file, or checksums would keep a fuzzer out forever: 1 the header's
 * checksum and the segment's size, 2 the checksums of all records and states.
 * With 4 the rest is no file but the life of a ring, see cache_life.h.
 *
 *   make fuzz && t/fuzz/cache -max_len=16384 t/fuzz/corpus/cache
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "staple_cache.h"
#include "../../cache/layout.h"

#define FUZZ_FILE_MAX ((size_t)256 * 1024)
#define FIX_HEADER 1
#define FIX_RECORDS 2
#define LIFE 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "not true: %s\n", what);
        abort();
    }
}

static void fix_header(unsigned char *bytes, size_t size)
{
    staple_cache_header_t header;

    if (size < sizeof(header)) {
        return;
    }
    memcpy(&header, bytes, sizeof(header));
    header.segment_size = size;
    header.sum = staple_cache_header_sum(&header);
    memcpy(bytes, &header, sizeof(header));
}

/* Make the record that a mark names one that its checksum lets pass. */
static void fix_record(unsigned char *bytes, size_t size,
                       const staple_cache_header_t *header,
                       const unsigned char *slot, uint32_t number)
{
    staple_cache_record_t record;
    uint64_t mark, at;

    memcpy(&mark, slot, sizeof(mark));
    if (!mark || !header->data_size) {
        return;
    }
    at = header->data_offset + (mark - 1 - header->start) % header->data_size;
    if (at > size || size - at < sizeof(record)) {
        return;
    }
    memcpy(&record, bytes + at, sizeof(record));
    record.slot = number;
    memcpy(record.id, slot + offsetof(staple_cache_slot_t, id),
           sizeof(record.id));
    if (staple_cache_record_bytes(record.len) <= size - at) {
        memcpy(bytes + at, &record, sizeof(record));
        record.sum = staple_cache_sum(
            slot + offsetof(staple_cache_slot_t, id), bytes + at,
            (size_t)staple_cache_record_bytes(record.len)
            / STAPLE_CACHE_BLOCK);
    }
    memcpy(bytes + at, &record, sizeof(record));
}

static void fix_records(unsigned char *bytes, size_t size)
{
    staple_cache_header_t header;
    uint32_t i;

    if (size < sizeof(header)) {
        return;
    }
    memcpy(&header, bytes, sizeof(header));
    for (i = 0; i < header.slots && i < 100; i++) {
        uint64_t at = sizeof(header) + i * sizeof(staple_cache_slot_t);

        if (at + sizeof(staple_cache_slot_t) <= size) {
            fix_record(bytes, size, &header, bytes + at, i);
        }
    }
}

/* Everything that readers do. */
static void read_all(staple_cache_t *cache, unsigned char *buf)
{
    staple_cache_usage_t usage;
    staple_cache_share_t share;
    staple_cache_state_t state;
    staple_cache_about_t about;
    staple_cache_other_t other;
    staple_cache_meta_t meta;
    apr_size_t len, k;
    int i;

    for (i = -1; i < (int)staple_cache_count(cache) + 1; i++) {
        const unsigned char *id = staple_cache_id(cache, i);

        if (staple_cache_read(cache, i, buf, STAPLE_CACHE_DER_MAX, &len, &meta)
            == APR_SUCCESS) {
            must(len > 0 && len <= STAPLE_CACHE_DER_MAX, "length in bounds");
            must(staple_cache_read(cache, i, buf, len - 1, &len, NULL)
                 == APR_ENOSPC, "a short buffer is refused");
        }
        staple_cache_read_pending(cache, i, buf, STAPLE_CACHE_DER_MAX, &len,
                                  &meta);
        staple_cache_state(cache, i, &state);
        staple_cache_about(cache, i, &about);
        must(strlen(about.name) < STAPLE_CACHE_NAME_LEN, "a name ends");
        must(!id || staple_cache_find(cache, id) < 1000000, "find ends");
    }
    for (k = 0; k < staple_cache_others(cache); k++) {
        staple_cache_other(cache, k, &other);
        must(strlen(other.about.name) < STAPLE_CACHE_NAME_LEN, "a name ends");
    }
    staple_cache_usage(cache, &usage);
    staple_cache_share(cache, &share);
    staple_cache_pending(cache);
}

/* Everything that writers do; what is stored must be there afterwards. */
static void write_all(staple_cache_t *cache, unsigned char *buf)
{
    static const unsigned char der[700] = { 0x30, 0x82 };
    staple_cache_meta_t meta = { 1, 2, 3, 4, 5 };
    staple_cache_state_t state;
    apr_size_t len;
    int i;

    memset(&state, 0, sizeof(state));
    for (i = 0; i < (int)staple_cache_count(cache) && i < 50; i++) {
        staple_cache_confirm(cache, i, i % 2);
    }
    for (i = 0; i < (int)staple_cache_count(cache) && i < 50; i++) {
        apr_size_t size = sizeof(der) - (apr_size_t)i;

        if (staple_cache_store(cache, i, der, size, &meta) == APR_SUCCESS) {
            must(staple_cache_read(cache, i, buf, STAPLE_CACHE_DER_MAX, &len,
                                   NULL) == APR_SUCCESS
                 && len == size && !memcmp(der, buf, len),
                 "what was stored is there");
        }
        staple_cache_set_state(cache, i, &state);
        if (i % 3 == 0) {
            staple_cache_forget(cache, i);
        }
    }
}

static void carry_over(const char *path, apr_pool_t *p)
{
    static const unsigned char ids[3][STAPLE_ID_LEN];
    unsigned char own[4][STAPLE_ID_LEN];
    staple_cache_report_t report;
    staple_cache_conf_t conf;
    staple_cache_t *cache;
    const char *reason;
    apr_size_t i;

    memset(own, 1, sizeof(own));
    memset(&conf, 0, sizeof(conf));
    if (staple_cache_open_file(&cache, path, &reason, p) == APR_SUCCESS) {
        for (i = 0; i < 3 && i < staple_cache_count(cache); i++) {
            memcpy(own[i], staple_cache_id(cache, (int)i), sizeof(own[i]));
        }
        staple_cache_unmap(cache);
    }
    memcpy(own[3], ids[0], sizeof(own[3]));
    conf.path = path;
    conf.size = STAPLE_CACHE_SIZE_MIN;
    conf.may_grow = 1;
    conf.ids = (const unsigned char (*)[STAPLE_ID_LEN])own;
    conf.ids_count = 4;
    must(staple_cache_create(&cache, &conf, &report, p) == APR_SUCCESS,
         "a ring can always be made");
    must(staple_cache_begin_writing(cache) == APR_SUCCESS, "and be written");
    if (!report.new_file) {
        must(staple_cache_copy_round(cache, 1, p) == APR_SUCCESS,
             "and be copied");
    }
    staple_cache_unmap(cache);
}

static int write_file(const char *path, const unsigned char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int well = fd >= 0 && write(fd, bytes, size) == (ssize_t)size;

    if (fd >= 0) {
        close(fd);
    }
    return well;
}

#include "cache_life.h"

static void read_as_file(const uint8_t *data, size_t size, const char *path,
                         unsigned char *buf, apr_pool_t *p)
{
    unsigned char *bytes = malloc(size);
    staple_cache_t *cache;
    const char *reason;

    must(bytes != NULL, "memory");
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & FIX_RECORDS) {
        fix_records(bytes, size - 1);
    }
    if (data[0] & FIX_HEADER) {
        fix_header(bytes, size - 1);
    }
    must(write_file(path, bytes, size - 1), "file written");
    if (staple_cache_open_file(&cache, path, &reason, p) == APR_SUCCESS) {
        read_all(cache, buf);
        write_all(cache, buf);
        read_all(cache, buf);
        staple_cache_unmap(cache);
    }
    else {
        must(reason != NULL, "a reason is given");
    }
    carry_over(path, p);
    unlink(path);
    unlink(apr_pstrcat(p, path, ".bad", NULL));
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char buf[STAPLE_CACHE_DER_MAX];
    static char path[64];
    static apr_pool_t *p;

    if (!p) {
        apr_initialize();
        apr_pool_create(&p, NULL);
        apr_snprintf(path, sizeof(path), "%s/fuzz-cache-%d",
                     access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
                     (int)getpid());
    }
    if (size < 1 || size > FUZZ_FILE_MAX) {
        return 0;
    }
    if (data[0] & LIFE) {
        live(data + 1, size - 1, path, buf, p);
    }
    else {
        read_as_file(data, size, path, buf, p);
    }
    apr_pool_clear(p);
    return 0;
}
