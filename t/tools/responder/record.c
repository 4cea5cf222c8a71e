/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the responder was asked, and how many asked it at a time; and the
 * commands that tell it.
 */

#include "responder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/objects.h>

typedef struct entry_t {
    char *line;
    char serial[SERIAL_LEN];
    char address[ADDRESS_LEN];
} entry_t;

/* Guarded by the lock, as `load` is. */
static entry_t *entries;
static size_t entries_count, entries_room;
static char *last_head;

load_t load;

/* Bytes of a stranger, fit for a line of tab-separated fields. */
static char *printable(char *text)
{
    char *p;

    for (p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~') {
            *p = '?';
        }
    }
    return text;
}

static char *log_line(const request_t *r, const conn_t *c)
{
    char *host = header_of(r->head, "Host");
    char *agent = header_of(r->head, "User-Agent");
    BIO *line = must(BIO_new(BIO_s_mem()));
    const EVP_MD *md = r->id ? certid_md(r->id) : NULL;
    struct timespec now;
    char *data, *copy;
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    BIO_printf(line, "%lld.%06ld\t%s\t%s\t%s\t%lu\t%s\t%s\t%s\t%d\t%d\t%s",
               (long long)now.tv_sec, now.tv_nsec / 1000,
               printable((char *)r->method), r->serial,
               md ? OBJ_nid2sn(EVP_MD_type(md)) : "-", c->number,
               printable(r->target), printable(host), printable(agent),
               r->ocsp ? OCSP_request_onereq_count(r->ocsp) : 0,
               r->ocsp ? OCSP_REQUEST_get_ext_count(r->ocsp) : 0,
               c->address);
    len = bio_len(line, &data);
    copy = must(strndup(data, (size_t)len));
    BIO_free(line);
    free(host);
    free(agent);
    return copy;
}

void record(const request_t *r, const conn_t *c, settings_t *s)
{
    char *line = log_line(r, c);
    entry_t *entry;

    pthread_mutex_lock(&lock);
    if (entries_count == entries_room) {
        entries_room = entries_room ? entries_room * 2 : 256;
        entries = must(realloc(entries, entries_room * sizeof(*entries)));
    }
    entry = &entries[entries_count++];
    entry->line = line;
    memcpy(entry->serial, r->serial, sizeof(entry->serial));
    memcpy(entry->address, c->address, sizeof(entry->address));
    free(last_head);
    last_head = must(strdup(r->head));
    if (++load.busy > load.max_busy) {
        load.max_busy = load.busy;
    }
    settings_for(r->serial, c->address, s);
    pthread_mutex_unlock(&lock);
}

const char *run_count(FILE *out, char *args)
{
    char target[SERIAL_LEN] = "";
    const char *problem = *args ? normalize_target(args, target) : NULL;
    size_t i, n = 0;

    if (problem) {
        return problem;
    }
    pthread_mutex_lock(&lock);
    for (i = 0; i < entries_count; i++) {
        n += !*target || !strcmp(entries[i].serial, target)
             || !strcmp(entries[i].address, target);
    }
    pthread_mutex_unlock(&lock);
    fprintf(out, "- %lu\n", (unsigned long)n);
    return NULL;
}

const char *run_log(FILE *out, char *args)
{
    size_t i;

    (void)args;
    pthread_mutex_lock(&lock);
    for (i = 0; i < entries_count; i++) {
        fprintf(out, "- %s\n", entries[i].line);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

const char *run_last(FILE *out, char *args)
{
    const char *line;

    (void)args;
    pthread_mutex_lock(&lock);
    for (line = last_head ? last_head : ""; *line;) {
        size_t len = strcspn(line, "\r\n");

        if (len) {
            fprintf(out, "- %.*s\n", (int)len, line);
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

const char *run_stats(FILE *out, char *args)
{
    (void)args;
    pthread_mutex_lock(&lock);
    fprintf(out, "- requests %lu\n- connections %lu\n- open %lu\n"
            "- max-open %lu\n- busy %lu\n- max-busy %lu\n",
            (unsigned long)entries_count, load.accepted, load.open,
            load.max_open, load.busy, load.max_busy);
    pthread_mutex_unlock(&lock);
    return NULL;
}

void drop_entries(void)
{
    size_t i;

    for (i = 0; i < entries_count; i++) {
        free(entries[i].line);
    }
    free(entries);
    entries = NULL;
    entries_count = entries_room = 0;
    free(last_head);
    last_head = NULL;
}

const char *run_reset_counters(FILE *out, char *args)
{
    (void)out;
    (void)args;
    pthread_mutex_lock(&lock);
    drop_entries();
    load.accepted = 0;
    load.max_open = load.open;
    load.max_busy = load.busy;
    pthread_mutex_unlock(&lock);
    return NULL;
}
