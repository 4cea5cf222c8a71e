/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: work for a child without privileges.
 *
 * The one idea: `httpd -t` runs as root, and root does nothing for strangers:
 * it looks up no name that a customer's certificate has, and parses nothing
 * from the network. So that is done by a child that becomes what httpd's
 * children are, reads its ids back, and refuses where it is root still. What it
 * found comes back through a pipe as lines of fields, which are cut at tabs and
 * made printable, and believed no further.
 */

#include "preflight_int.h"

#include <string.h>
#include <unistd.h>

#include <apr_signal.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "staple_process.h"
#include "staple_text.h"

/* The first field of the last line, and of one that says why nothing was
 * done. */
#define END "end"
#define REFUSED "refused"

/* More is not read, whatever the child writes. */
#define BYTES_MAX ((apr_size_t)256 * 1024 * 1024)

#define FIELDS (sizeof(((preflight_line_t *)NULL)->fields) / sizeof(char *))

/* Ends the child, without the cleanups that belong to the parent. */
static void run_child(server_rec *s, int fd, staple_preflight_work_fn *work,
                      void *baton, apr_pool_t *p)
{
    const char *wrong = staple_process_drop_privileges(s, p);
    FILE *out = fdopen(fd, "w");

    apr_signal(SIGPIPE, SIG_IGN);
    if (out && wrong) {
        fprintf(out, REFUSED "\t%s\n", wrong);
    }
    else if (out) {
        work(out, baton, p);
        fputs(END "\n", out);
    }
    if (out) {
        fflush(out);
    }
    _exit(0);
}

/* ----- what comes back ----- */

static void read_line(apr_array_header_t *lines, const char *text,
                      apr_size_t len, apr_pool_t *p)
{
    preflight_line_t *line = apr_array_push(lines);
    const char *end = text + len;
    apr_size_t i;

    for (i = 0; i < FIELDS; i++) {
        const char *tab = text < end ? memchr(text, '\t',
                                              (apr_size_t)(end - text)) : NULL;
        apr_size_t field = (apr_size_t)((tab ? tab : end) - text);

        line->fields[i] = staple_text_printable(text, field, field, p);
        text = tab ? tab + 1 : end;
    }
}

/* All that the child writes, until it has closed its end. */
static char *read_all(int fd, apr_size_t *len, apr_pool_t *p)
{
    apr_size_t size = 65536, most = BYTES_MAX;
    char *text = apr_palloc(p, size), *more;
    ssize_t n;

    *len = 0;
    while (*len < most && (n = read(fd, text + *len, size - *len)) > 0) {
        *len += (apr_size_t)n;
        if (*len == size) {
            more = apr_palloc(p, 2 * size);
            memcpy(more, text, size);
            text = more;
            size *= 2;
        }
    }
    return text;
}

static apr_array_header_t *read_lines(int fd, apr_pool_t *p)
{
    apr_array_header_t *lines = apr_array_make(p, 16,
                                               sizeof(preflight_line_t));
    apr_size_t len;
    const char *text = read_all(fd, &len, p), *end = text + len, *newline;

    for (; text < end; text = newline + 1) {
        newline = memchr(text, '\n', (apr_size_t)(end - text));
        if (!newline) {
            break; /* a line that was cut short is none */
        }
        read_line(lines, text, (apr_size_t)(newline - text), p);
    }
    return lines;
}

/* Whether all was done, by the last line; that one is taken off. */
static const char *take_end(apr_array_header_t *lines, apr_pool_t *p)
{
    const preflight_line_t *last = lines->nelts
        ? &APR_ARRAY_IDX(lines, lines->nelts - 1, preflight_line_t) : NULL;

    if (last && !strcmp(last->fields[0], REFUSED)) {
        lines->nelts--;
        return apr_pstrcat(p, "not done as root, and the privileges of root "
                           "cannot be given up: ", last->fields[1], NULL);
    }
    if (!last || strcmp(last->fields[0], END)) {
        return "the process that does it has not come to its end";
    }
    lines->nelts--;
    return NULL;
}

const char *staple_preflight_in_child(server_rec *s,
                                      staple_preflight_work_fn *work,
                                      void *baton, apr_array_header_t **lines,
                                      apr_pool_t *p)
{
    apr_proc_t child;
    apr_status_t rv;
    int fds[2];

    *lines = apr_array_make(p, 1, sizeof(preflight_line_t));
    if (pipe(fds)) {
        return "no pipe to the process that does it can be made";
    }
    fflush(NULL);
    rv = apr_proc_fork(&child, p);
    if (rv == APR_INCHILD) {
        close(fds[0]);
        run_child(s, fds[1], work, baton, p);
    }
    close(fds[1]);
    if (rv != APR_INPARENT) {
        close(fds[0]);
        return "no process that does it can be started";
    }
    *lines = read_lines(fds[0], p);
    close(fds[0]);
    apr_proc_wait(&child, NULL, NULL, APR_WAIT);
    return take_end(*lines, p);
}
