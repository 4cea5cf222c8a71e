/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: where the ring is, if nobody says so.
 *
 * The one idea: the installed httpd's configuration names it, so that is read
 * as `staplectl lint` reads it: includes are followed, and a Define is known.
 * Where it names none, the packages' default is left.
 */

#include "staplectl.h"
#include "lint/lint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_strings.h>

/* Of a search_t. */
#define SEARCH_MAGIC 0x53524348u

/* What the configuration says; the last line holds. */
typedef struct search_t {
    staple_magic_t magic;
    apr_pool_t *pool;
    const char *path; /* as written; NULL: none was named */
    const char *where; /* "FILE:LINE" */
} search_t;

/* "shmcb:path(size)" */
static void note_line(void *baton, const staplectl_line_t *line)
{
    static const char provider[] = "shmcb:";
    search_t *search = STAPLE_CAST(search_t, SEARCH_MAGIC, baton);
    const apr_array_header_t *args;
    staple_cache_spec_t spec;
    const char *arg;

    if (strcasecmp(line->name, "SSLStaplingCache")
        || staplectl_section_skipped(line->section)) {
        return;
    }
    args = staplectl_args_split(line->args, NULL, search->pool);
    arg = args->nelts ? APR_ARRAY_IDX(args, 0, const char *) : "";
    if (strncmp(arg, provider, sizeof(provider) - 1)
        || staple_cache_parse_spec(&spec, arg + sizeof(provider) - 1,
                                   search->pool)
        || !spec.path || strstr(spec.path, "${")) {
        return; /* nothing that can be opened */
    }
    search->path = spec.path;
    search->where = apr_psprintf(search->pool, "%s:%d", line->file,
                                 line->number);
}

/* The configuration of the httpd that this was built for, or another one. */
static const char *config_file(void)
{
    const char *file = getenv("STAPLE_HTTPD_CONF");

    return file && *file ? file : STAPLE_HTTPD_CONF;
}

static int read_config(search_t *search, const char *file)
{
    staplectl_reader_t *reader = staplectl_reader_make(note_line, search,
                                                       search->pool);
    const char *root;
    char *path;

    if (access(file, R_OK) || staplectl_reader_file(reader, file)
        || !search->path) {
        return 0;
    }
    root = staplectl_reader_root(reader);
    if (root && !apr_filepath_merge(&path, root, search->path,
                                    APR_FILEPATH_TRUENAME, search->pool)) {
        search->path = path;
    }
    return 1;
}

const char *staplectl_find_ring(const char **path, const char **where,
                                apr_pool_t *p)
{
    search_t search = { SEARCH_MAGIC, p, NULL, NULL };
    const char *file = config_file();

    if (read_config(&search, file)) {
        *path = search.path;
        *where = search.where;
        return NULL;
    }
    if (!access(STAPLECTL_USUAL_RING, F_OK)) {
        *path = STAPLECTL_USUAL_RING;
        *where = "the packages' default";
        return NULL;
    }
    return apr_pstrcat(p, "which ring? Name it with --ring FILE or "
                       "STAPLE_RING: it is the path in SSLStaplingCache "
                       "\"shmcb:path(size)\"; ", file, " names none, and "
                       "there is no " STAPLECTL_USUAL_RING, NULL);
}
