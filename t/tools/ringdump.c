/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Prints a ring file in words. It reads a copy of the file, so it may be run
 * beside a server; a response that changed while it was copied shows as none.
 *
 *   ringdump FILE
 *
 * --bend writes into a file that no server uses: it turns the last bit of each
 * response, which is one of a signature, and puts the checksum right, as
 * somebody would who may write to the file.
 *
 *   ringdump --bend FILE
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <apr_general.h>
#include <apr_time.h>

#include "staple_cache.h"
#include "../../cache/layout.h"
#include "staple_text.h"
#include "staple_words.h"

static const char *moment(apr_time_t t, char text[APR_RFC822_DATE_LEN])
{
    if (t == 0 || apr_rfc822_date(text, t) != APR_SUCCESS) {
        strcpy(text, "never");
    }
    return text;
}

static void print_ring(const staple_cache_t *cache)
{
    char text[APR_RFC822_DATE_LEN];
    const staple_cache_header_t *header;
    staple_cache_usage_t usage;
    apr_size_t length;
    void *base;

    staple_cache_mapping(cache, &base, &length);
    header = base;
    staple_cache_usage(cache, &usage);
    printf("ring of version %u, generation %lu, made %s\n",
           (unsigned int)header->version, (unsigned long)usage.generation,
           moment(usage.created, text));
    printf("%lu bytes, of which %lu for records; %lu certificates\n",
           (unsigned long)usage.size, (unsigned long)usage.data_size,
           (unsigned long)staple_cache_count(cache));
    printf("%lu records of %lu bytes are in use, %lu wait to be confirmed\n",
           (unsigned long)usage.records, (unsigned long)usage.live,
           (unsigned long)staple_cache_pending(cache));
    printf("%lu records were written, %lu of them moved, %lu were refused\n",
           (unsigned long)usage.stored, (unsigned long)usage.moved,
           (unsigned long)usage.refused);
}

static void print_response(const staple_cache_t *cache, int slot)
{
    static unsigned char der[STAPLE_CACHE_DER_MAX];
    char text[APR_RFC822_DATE_LEN];
    const char *how = "served";
    staple_cache_meta_t meta;
    apr_size_t len;
    apr_status_t rv = staple_cache_read(cache, slot, der, sizeof(der), &len,
                                        &meta);

    if (rv != APR_SUCCESS) {
        how = "pending";
        rv = staple_cache_read_pending(cache, slot, der, sizeof(der), &len,
                                       &meta);
    }
    if (rv != APR_SUCCESS) {
        printf("  no response\n");
        return;
    }
    printf("  %s: %lu bytes, status %u, flags %u\n", how, (unsigned long)len,
           (unsigned int)meta.status, (unsigned int)meta.flags);
    printf("  this update %s\n", moment(meta.this_update, text));
    printf("  next update %s\n", moment(meta.next_update, text));
    printf("  fetched     %s\n", moment(meta.fetched_at, text));
}

static void print_state(const staple_cache_t *cache, int slot, apr_pool_t *p)
{
    char text[APR_RFC822_DATE_LEN];
    staple_cache_state_t state;
    const char *peer;

    staple_cache_state(cache, slot, &state);
    peer = staple_words_peer_text(&state, p);
    printf("  last attempt %s at %s: outcome %u, detail %u\n",
           moment(state.last_attempt, text), *peer ? peer : "nobody",
           (unsigned int)state.outcome, (unsigned int)state.detail);
    printf("  URL %d, took %u, %u, %u ms\n", staple_words_url_number(&state),
           (unsigned int)state.resolve_took, (unsigned int)state.connect_took,
           (unsigned int)state.wait_took);
    printf("  last success %s\n", moment(state.last_success, text));
    printf("  next due     %s\n", moment(state.next_due, text));
    printf("  %u attempts, %u failures, %u in a row\n",
           (unsigned int)state.attempts, (unsigned int)state.failures,
           (unsigned int)state.failing);
}

static void print_slot(const staple_cache_t *cache, int slot, apr_pool_t *p)
{
    const unsigned char *id = staple_cache_id(cache, slot);
    staple_cache_about_t about;
    int i;

    staple_cache_about(cache, slot, &about);
    printf("\nslot %d, certificate ", slot);
    for (i = 0; i < STAPLE_ID_LEN; i++) {
        printf("%02x", id[i]);
    }
    printf("\n  %s\n", staple_text_printable(about.name, strlen(about.name),
                                            STAPLE_CACHE_NAME_LEN, p));
    print_response(cache, slot);
    print_state(cache, slot, p);
}

/* ----- lies ----- */

static void bend_slot(unsigned char *bytes, const staple_cache_header_t *header,
                      const staple_cache_slot_t *slot)
{
    staple_cache_word_t mark = slot->served ? slot->served : slot->pending;
    unsigned char *at = bytes + header->data_offset
                        + (mark - 1 - header->start) % header->data_size;
    staple_cache_record_t *record = (staple_cache_record_t *)(void *)at;

    if (mark) {
        at[sizeof(*record) + record->len - 1] ^= 1;
        record->sum = 0;
        record->sum = staple_cache_sum(
            slot->id, at,
            (apr_size_t)staple_cache_record_bytes(record->len)
            / STAPLE_CACHE_BLOCK);
    }
}

static int bend_file(const char *path)
{
    int fd = open(path, O_RDWR);
    struct stat st;
    unsigned char *bytes = fd >= 0 && !fstat(fd, &st)
        ? mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
               0) : MAP_FAILED;
    const staple_cache_header_t *header = (void *)bytes;
    apr_uint32_t i;

    if (bytes == MAP_FAILED
        || staple_cache_check_header(header, (apr_uint64_t)st.st_size)) {
        fprintf(stderr, "%s is no ring file\n", path);
        return 1;
    }
    for (i = 0; i < header->slots; i++) {
        bend_slot(bytes, header, (void *)(bytes + header->slots_offset
                                          + i * sizeof(staple_cache_slot_t)));
    }
    return 0;
}

int main(int argc, char **argv)
{
    staple_cache_t *cache;
    const char *reason;
    apr_pool_t *p;
    int slot;

    if (argc == 3 && !strcmp(argv[1], "--bend")) {
        return bend_file(argv[2]);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: ringdump [--bend] FILE\n");
        return 2;
    }
    apr_initialize();
    apr_pool_create(&p, NULL);
    if (staple_cache_open_file(&cache, argv[1], &reason, p) != APR_SUCCESS) {
        fprintf(stderr, "%s %s\n", argv[1], reason);
        return 1;
    }
    print_ring(cache);
    for (slot = 0; slot < (int)staple_cache_count(cache); slot++) {
        print_slot(cache, slot, p);
    }
    staple_cache_unmap(cache);
    apr_pool_destroy(p);
    apr_terminate();
    return 0;
}
