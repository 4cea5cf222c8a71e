/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A segment as a whole, whatever lies in it: how large it has to be and may
 * be, what its header says and whether that can be true, and its mapping.
 *
 * The one idea: all of the layout follows from two numbers, how many slots
 * there are and how many bytes. So a header is checked by laying it out anew
 * and comparing, and what was bound once is never read from it again.
 */

#include "segment.h"

#include <errno.h>
#include <sys/mman.h>

#include <apr_strings.h>

/* The size from which mod_socache_shmcb, and so mod_ssl, says no. */
#define SIZE_LIMIT ((apr_size_t)64 * 1024 * 1024)

/* Room beyond what is needed, as a part of the records: with a 64th of dead
 * records a store moves 64 others at most, in some microseconds. More would
 * cost memory for all and save time where nobody waits. */
#define SPARE_PART 64

/* ---- How large. ---- */

apr_uint64_t staple_cache_record_bytes(apr_size_t der_len)
{
    return record_bytes(der_len);
}

static apr_uint64_t data_offset(apr_uint64_t slots)
{
    apr_uint64_t end = sizeof(header_t)
                       + slots * (sizeof(slot_t) + 2 * sizeof(apr_uint32_t));

    return (end + STAPLE_CACHE_BLOCK - 1)
           / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_need(apr_size_t n, apr_uint64_t records,
                               apr_uint64_t longest)
{
    apr_uint64_t spare = records / SPARE_PART
                         / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;

    return data_offset(n) + records + spare + longest;
}

apr_size_t staple_cache_size_for(apr_size_t certificates)
{
    apr_uint64_t record = staple_cache_record_bytes(STAPLE_CACHE_TYPICAL);

    return (apr_size_t)staple_cache_need(certificates, certificates * record,
                                         certificates ? record : 0);
}

/* ---- The directive's argument. ---- */

/* The size in parentheses, of which `text` has the closing one alone. */
static const char *parse_size(apr_size_t *size, const char *text,
                              apr_pool_t *p)
{
    int digits = (int)strcspn(text, ")");
    apr_int64_t bytes;
    char *end;

    errno = 0;
    bytes = apr_strtoi64(text, &end, 10);
    if (end == text || strcmp(end, ")")) {
        return apr_psprintf(p, "the size is a number of bytes, not \"%.*s\"",
                            digits, text);
    }
    if (errno || bytes < (apr_int64_t)STAPLE_CACHE_SIZE_MIN
        || bytes >= (apr_int64_t)SIZE_LIMIT) {
        return apr_psprintf(p, "the size has to be at least %" APR_SIZE_T_FMT
                            " and less than %" APR_SIZE_T_FMT
                            " bytes, not %.*s",
                            STAPLE_CACHE_SIZE_MIN, SIZE_LIMIT, digits, text);
    }
    *size = (apr_size_t)bytes;
    return NULL;
}

const char *staple_cache_parse_spec(staple_cache_spec_t *spec, const char *arg,
                                    apr_pool_t *p)
{
    char *path = apr_pstrdup(p, arg ? arg : "");
    apr_size_t len = strlen(path);
    char *open_at = strrchr(path, '(');

    spec->path = *path ? path : NULL;
    spec->size = STAPLE_CACHE_SIZE_DEFAULT;
    if (!open_at) {
        return len && path[len - 1] == ')'
               ? "a size needs an opening parenthesis: path(bytes)" : NULL;
    }
    if (path[len - 1] != ')') {
        return "a size needs a closing parenthesis at the end: path(bytes)";
    }
    *open_at = '\0';
    spec->path = *path ? path : NULL;
    return parse_size(&spec->size, open_at + 1, p);
}

/* ---- What the header says. ---- */

void staple_cache_lay_out(header_t *header, apr_uint32_t slots,
                          apr_uint64_t size)
{
    memcpy(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic));
    header->version = STAPLE_CACHE_VERSION;
    header->byte_order = STAPLE_CACHE_BYTE_ORDER;
    header->header_size = sizeof(header_t);
    header->slot_size = sizeof(slot_t);
    header->record_size = sizeof(record_t);
    header->id_len = STAPLE_ID_LEN;
    header->segment_size = size;
    header->slots = slots;
    header->buckets = 2 * slots;
    header->slots_offset = sizeof(header_t);
    header->buckets_offset = sizeof(header_t) + slots * sizeof(slot_t);
    header->data_offset = data_offset(slots);
    header->data_size = (size - header->data_offset)
                        / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_sum(const unsigned char id[STAPLE_ID_LEN],
                              const void *words, apr_size_t blocks)
{
    const unsigned char *from = words;
    block_t block;
    apr_size_t i;
    sum_t sum;

    sum_begin(&sum, id);
    memcpy(&block, from, sizeof(block));
    sum_first(&sum, block);
    for (i = 1; i < blocks; i++) {
        memcpy(&block, from + i * STAPLE_CACHE_BLOCK, sizeof(block));
        sum_block(&sum, &block);
    }
    return sum_end(&sum);
}

apr_uint64_t staple_cache_header_sum(const header_t *header)
{
    static const unsigned char no_id[STAPLE_ID_LEN];
    unsigned char fixed[2 * STAPLE_CACHE_BLOCK];

    memcpy(fixed, header, sizeof(fixed));
    memset(fixed + offsetof(header_t, sum), 0, sizeof(header->sum));
    return staple_cache_sum(no_id, fixed, 2) ^ header->version;
}

const char *staple_cache_check_header(const header_t *header,
                                      apr_uint64_t length)
{
    const apr_size_t fixed = offsetof(header_t, generation);
    header_t should;

    if (length < sizeof(header->magic)
        || memcmp(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic))) {
        return "is not a ring";
    }
    if (length < sizeof(*header)) {
        return "is truncated";
    }
    if (header->byte_order != STAPLE_CACHE_BYTE_ORDER) {
        return "has a damaged header, or is from a machine of another byte "
               "order";
    }
    if (header->version != STAPLE_CACHE_VERSION) {
        return "was written by another version of the module";
    }
    if (header->sum != staple_cache_header_sum(header)) {
        return "has a damaged header";
    }
    if (length != header->segment_size) {
        return length < header->segment_size ? "is truncated"
                                             : "is longer than it should be";
    }
    if (header->slots > length / sizeof(slot_t)
        || data_offset(header->slots) + STAPLE_CACHE_BLOCK > length
        || header->start % STAPLE_CACHE_BLOCK) {
        return "has an impossible header";
    }
    memset(&should, 0, sizeof(should));
    staple_cache_lay_out(&should, header->slots, length);
    should.start = header->start;
    return memcmp(header, &should, fixed) ? "has an impossible header" : NULL;
}

/* ---- Mappings. ---- */

void staple_cache_bind(staple_cache_t *cache, void *base, apr_size_t length)
{
    char *bytes = base;
    header_t *header = base;

    cache->base = base;
    cache->length = length;
    cache->header = header;
    cache->slots = (slot_t *)(bytes + header->slots_offset);
    cache->buckets = (apr_uint32_t *)(bytes + header->buckets_offset);
    cache->data = (word_t *)(bytes + header->data_offset);
    cache->slots_count = header->slots;
    cache->buckets_count = header->buckets;
    cache->data_size = header->data_size;
    cache->blocks = header->data_size / STAPLE_CACHE_BLOCK;
    cache->start = header->start;
}

apr_status_t staple_cache_attach(staple_cache_t **cache, void *base,
                                 apr_size_t length, apr_pool_t *p)
{
    *cache = NULL;
    if (!base || (apr_uintptr_t)base % STAPLE_CACHE_BLOCK
        || staple_cache_check_header(base, length)) {
        return APR_EINVAL;
    }
    *cache = apr_pcalloc(p, sizeof(**cache));
    staple_cache_bind(*cache, base, length);
    return APR_SUCCESS;
}

void staple_cache_mapping(const staple_cache_t *cache, void **base,
                          apr_size_t *length)
{
    *base = cache->base;
    *length = cache->length;
}

void staple_cache_unmap(staple_cache_t *cache)
{
    if (cache->base) {
        munmap(cache->base, cache->length);
        cache->base = NULL;
    }
}
