/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: what the ring of mod_staple holds, from the command line. This
 * file has the options and the commands; staplectl/staplectl.h says what lies
 * in the others, and staplectl/lint/lint.h has the command that looks at a
 * configuration instead.
 *
 * The one idea: a command works on entries and does not care whether they
 * were read out of a ring file, beside the server or long after it stopped,
 * or came with a handshake.
 *
 * It reads, but for fetch, which writes responses to files, and for refresh and
 * forget, which leave a request for the refresher of a server at work. Statuses
 * are those of monitoring plug-ins for every command: 3 says that nothing could
 * be found out.
 */

#include "staplectl.h"
#include "lint/lint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_getopt.h>
#include <apr_lib.h>
#include <apr_network_io.h>
#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#define PORT 443

#define TIMEOUT 10

/* How often watch draws. */
#define WATCH_SPAN apr_time_from_sec(2)

/* What stands around the certificates there. */
#define WATCH_LINES 7

/* What the command line asks for. */
typedef struct staplectl_t {
    apr_pool_t *pool;
    apr_time_t now;
    const char *command;     /* NULL: none was given */
    const char *ring_path;   /* NULL: none was named */
    const char *connect;     /* HOST[:PORT]; NULL: entries come from a ring */
    const char *server_name; /* for SNI; NULL: the host */
    apr_interval_time_t timeout;
    staplectl_limits_t limits;
    int is_json, is_pem, is_text;
    int only_trouble;        /* only entries that need attention */
    int only_given;          /* only entries whose certificate was given */
    staple_state_e state;    /* only entries in it; STAPLE_STATES: all */
    const char *output;      /* a file; NULL: standard output */
    apr_interval_time_t wait; /* for what comes of a request; 0: not at all */
    int are_all, is_forced;
    int has_certs;           /* --cert was given */
    staplectl_fetch_options_t fetch;
    staplectl_lint_options_t lint;
    staplectl_certs_t *certs;
    apr_array_header_t *patterns; /* const char * */
    staplectl_ring_t *ring;       /* NULL: entries come from a handshake */
    apr_array_header_t *entries;  /* staplectl_entry_t: those meant */
} staplectl_t;

/* Options without a letter of their own. */
enum {
    CONNECT = 256,
    ALL,
    FORCE,
    WAIT,
    ISSUER,
    KEEP_FRESH,
    POST_HOOK,
    PROXY,
    SERVER_NAME,
    TIMEOUT_OPTION,
    JSON,
    PEM,
    TEXT,
    ROOT,
    SEVERITY,
    STATE,
    TROUBLE,
    VHOST,
    VERSION
};

static const apr_getopt_option_t options[] = {
    { "ring", 'r', 1, NULL },
    { "cert", 'c', 1, NULL },
    { "all", ALL, 0, NULL },
    { "force", FORCE, 0, NULL },
    { "wait", WAIT, 1, NULL },
    { "issuer", ISSUER, 1, NULL },
    { "keep-fresh", KEEP_FRESH, 1, NULL },
    { "post-hook", POST_HOOK, 1, NULL },
    { "proxy", PROXY, 1, NULL },
    { "connect", CONNECT, 1, NULL },
    { "servername", SERVER_NAME, 1, NULL },
    { "timeout", TIMEOUT_OPTION, 1, NULL },
    { "warning", 'w', 1, NULL },
    { "critical", 'C', 1, NULL },
    { "output", 'o', 1, NULL },
    { "severity", SEVERITY, 1, NULL },
    { "state", STATE, 1, NULL },
    { "trouble", TROUBLE, 0, NULL },
    { "json", JSON, 0, NULL },
    { "pem", PEM, 0, NULL },
    { "text", TEXT, 0, NULL },
    { "root", ROOT, 1, NULL },
    { "vhost", VHOST, 0, NULL },
    { "help", 'h', 0, NULL },
    { "version", VERSION, 0, NULL },
    { NULL, 0, 0, NULL }
};

static const char usage[] =
    "usage: staplectl list  [CERTIFICATE...]  what is stapled, until when\n"
    "       staplectl show  CERTIFICATE       all that is known of it\n"
    "       staplectl get   CERTIFICATE       its response, DER or PEM\n"
    "       staplectl check [CERTIFICATE...]  is all well? for monitoring\n"
    "       staplectl refresh CERTIFICATE...|--all  ask the responder now\n"
    "       staplectl forget  CERTIFICATE...  drop the response, then ask\n"
    "       staplectl watch [CERTIFICATE...]  list, redrawn every 2 s\n"
    "       staplectl fetch CERT.pem...       fetch, verify and write the\n"
    "                                         response, without a server\n"
    "       staplectl lint  FILE...           what mod_staple will make of\n"
    "                                         a configuration\n"
    "\n"
    "CERTIFICATE is the name of its first virtual host (with --cert: any\n"
    "of its host names), a serial, or a SHA-1 fingerprint or its beginning.\n"
    "\n"
    "Where from:\n"
    "  -r, --ring FILE        the ring, the path in SSLStaplingCache\n"
    "                         \"shmcb:path(size)\"; default: $STAPLE_RING,\n"
    "                         else that in httpd's configuration, else\n"
    "                         " STAPLECTL_USUAL_RING "\n"
    "  -c, --cert FILE        certificates of the server and of authorities,\n"
    "                         PEM, to name and verify with; repeatable\n"
    "      --connect HOST[:PORT]  read what a server staples, not a ring\n"
    "      --servername NAME  host name to ask for (default: HOST)\n"
    "      --timeout SECONDS  for the handshake; fetch: for each responder\n"
    "                         (10)\n"
    "What:\n"
    "      --trouble          list, show, watch, check: only what needs\n"
    "                         attention\n"
    "      --state STATE      list, show, watch, check: only what is in that\n"
    "                         state\n"
    "  -w, --warning LIMIT    check: warn when less is left of a response's\n"
    "                         validity, too: 36h, 2d, 90m, 600, 25%\n"
    "  -C, --critical LIMIT   the same for critical\n"
    "      --severity STATE=SEVERITY  check: how severe a state is, as in\n"
    "                         missing=warning or failing=ok; repeatable\n"
    "      --all              refresh, forget: all certificates\n"
    "      --wait SPAN        refresh, forget: wait so long for the outcome;\n"
    "                         fetch: go on after failures for so long\n"
    "      --force            forget: the last response of a must-staple\n"
    "                         certificate, too\n"
    "      --text             show: the response in full, too\n"
    "      --pem              get: PEM rather than DER\n"
    "  -o, --output FILE      get, fetch: write to a file; fetch: or to files\n"
    "                         in a directory (beside each certificate)\n"
    "      --issuer FILE      fetch: the certificates of issuers, PEM\n"
    "      --keep-fresh DIR   fetch: what is due of all certificates in DIR\n"
    "      --post-hook CMD    fetch: run by sh when something was written\n"
    "      --proxy URL        fetch: http://HOST:PORT to go through\n"
    "      --root DIR         lint: the ServerRoot, where includes begin\n"
    "      --vhost            lint: the files are read inside a <VirtualHost>\n"
    "      --json             list, show, check, lint: JSON\n"
    "  -h, --help             --version\n"
    "\n"
    "Exit status: 0 ok, 1 warning, 2 critical, 3 nothing could be found out.\n"
    "refresh, forget: 0 taken (with --wait: a response came), 1 not ended in\n"
    "time, 2 the exchange failed, 3 no refresher takes the request,\n"
    "or nobody is asked about a certificate.\n"
    "fetch: 0 each has a good response or needs none, 1 one was not renewed,\n"
    "but the response in its file is valid, 2 some have none, or it cannot be\n"
    "written, 3 a certificate or directory cannot be read.\n"
    "lint: 0 all is kept, 1 a line means something else or nothing, 2 a line\n"
    "is illegal or in conflict, 3 a file cannot be read.\n";

static int complain(const char *what, const char *more)
{
    fprintf(stderr, "staplectl: %s%s\n", what, more);
    return STAPLECTL_UNKNOWN;
}

/* The program's end, wherever it comes. */
static void leave(staplectl_t *ctl, int status) __attribute__((noreturn));

static void leave(staplectl_t *ctl, int status)
{
    if (fflush(stdout) && status == STAPLECTL_OK) {
        status = complain("standard output cannot be written", "");
    }
    apr_pool_destroy(ctl->pool);
    apr_terminate();
    exit(status);
}

/* ----- where entries come from ----- */

/* The name that a server is asked by: that of the host, unless it is an
 * address. */
static const char *name_of_host(const char *host)
{
    return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host)
           ? NULL : host;
}

static const char *read_target(const staplectl_t *ctl,
                               staplectl_target_t *target)
{
    apr_port_t port;
    char *host, *scope;

    if (apr_parse_addr_port(&host, &scope, &port, ctl->connect, ctl->pool)
        || !host) {
        return "--connect wants HOST or HOST:PORT; write an IPv6 address as "
               "[::1]:443";
    }
    target->host = host;
    target->port = port ? port : PORT;
    target->timeout = ctl->timeout;
    target->name = ctl->server_name ? ctl->server_name : name_of_host(host);
    return NULL;
}

/* Why nothing can be said of what a server has stapled. */
static const char *why_not_judged(const staplectl_leaf_t *leaf, apr_pool_t *p)
{
    return leaf->issuer
           ? apr_pstrcat(p, "OCSP does not apply to the server's certificate (",
                         staple_cert_scope_text(leaf->cert->scope), "), so "
                         "its staple cannot be judged", NULL)
           : "the server does not send its issuer's certificate, so its staple "
             "cannot be judged; give it with --cert";
}

static const char *ask_server(staplectl_t *ctl)
{
    const staplectl_leaf_t *leaf;
    staplectl_entry_t *entry;
    staplectl_staple_t staple;
    staplectl_target_t target;
    const char *wrong = read_target(ctl, &target);

    if (!wrong) {
        wrong = staplectl_tls_ask(&target, ctl->certs, &staple, ctl->pool);
    }
    if (!wrong) {
        wrong = staplectl_certs_finish(ctl->certs);
    }
    if (wrong) {
        return wrong;
    }
    leaf = staplectl_certs_server(ctl->certs);
    if (!leaf) {
        return "the server showed no certificate";
    }
    entry = staplectl_entry_push(ctl->entries);
    staplectl_entry_set_cert(entry, leaf);
    entry->was_sent = 1;
    entry->view.absence = "the server sent no response";
    entry->view.der = staple.der;
    entry->view.der_len = staple.len;
    staplectl_entry_judge(entry, ctl->now, ctl->pool);
    return staple.der && !entry->view.is_judged
           ? why_not_judged(leaf, ctl->pool) : NULL;
}

static int is_meant(const staplectl_t *ctl, const staplectl_entry_t *entry)
{
    int i;

    for (i = 0; i < ctl->patterns->nelts; i++) {
        if (staplectl_entry_matches(entry, APR_ARRAY_IDX(ctl->patterns, i,
                                                         const char *),
                                    ctl->pool)) {
            return 1;
        }
    }
    return !ctl->patterns->nelts && (!ctl->only_given || entry->view.cert);
}

static int is_wanted(const staplectl_t *ctl, const staplectl_entry_t *entry)
{
    staple_state_e state = entry->view.state;

    if (ctl->only_trouble && !staple_state_needs_attention(state)) {
        return 0;
    }
    return (ctl->state == STAPLE_STATES || ctl->state == state)
           && is_meant(ctl, entry);
}

/* Every pattern has to mean something: what is not there is not well. */
static const char *find_unmatched(const staplectl_t *ctl)
{
    int i, j;

    for (i = 0; i < ctl->patterns->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(ctl->patterns, i, const char *);
        int found = 0;

        for (j = 0; !found && j < ctl->ring->entries->nelts; j++) {
            found = staplectl_entry_matches(
                &APR_ARRAY_IDX(ctl->ring->entries, j, staplectl_entry_t),
                pattern, ctl->pool);
        }
        if (!found) {
            return pattern;
        }
    }
    return NULL;
}

/* The most urgent first. */
static int by_urgency(const void *av, const void *bv)
{
    const staple_view_t *a = &((const staplectl_entry_t *)av)->view;
    const staple_view_t *b = &((const staplectl_entry_t *)bv)->view;

    if (a->state != b->state) {
        return a->state < b->state ? -1 : 1;
    }
    if (a->numbers.serve_until != b->numbers.serve_until) {
        return a->numbers.serve_until < b->numbers.serve_until ? -1 : 1;
    }
    return strcmp(a->name, b->name);
}

static const char *select_entries(staplectl_t *ctl)
{
    const char *unmatched = find_unmatched(ctl);
    int i;

    for (i = 0; i < ctl->ring->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ctl->ring->entries, i, staplectl_entry_t);

        if (is_wanted(ctl, entry)) {
            APR_ARRAY_PUSH(ctl->entries, staplectl_entry_t) = *entry;
        }
    }
    qsort(ctl->entries->elts, (size_t)ctl->entries->nelts,
          sizeof(staplectl_entry_t), by_urgency);
    return unmatched
           ? apr_psprintf(ctl->pool, "%s: no such certificate in %s (it "
                          "knows the first virtual host's name; others are "
                          "known from files given with --cert)",
                          unmatched, ctl->ring->path)
           : NULL;
}

/* As it is now. */
static const char *load_ring(staplectl_t *ctl)
{
    const char *wrong = staplectl_ring_load(&ctl->ring, ctl->ring_path,
                                            ctl->certs, ctl->now, ctl->pool);

    return wrong ? wrong : select_entries(ctl);
}

static const char *read_ring(staplectl_t *ctl)
{
    const char *wrong = NULL, *where;

    if (!ctl->ring_path) {
        wrong = staplectl_find_ring(&ctl->ring_path, &where, ctl->pool);
        if (wrong) {
            return wrong;
        }
        if (isatty(STDERR_FILENO)) {
            fprintf(stderr, "staplectl: reading %s (%s)\n", ctl->ring_path,
                    where);
        }
    }
    wrong = staplectl_certs_finish(ctl->certs);
    return wrong ? wrong : load_ring(ctl);
}

/* ----- commands ----- */

static int print_json(const staplectl_t *ctl, staple_report_depth_e depth)
{
    staplectl_print_json(ctl->ring, ctl->entries, depth, ctl->now, ctl->pool);
    return STAPLECTL_OK;
}

static int list(staplectl_t *ctl)
{
    if (!ctl->ring) {
        return complain("list reads a ring; use show --connect", "");
    }
    if (ctl->is_json) {
        return print_json(ctl, STAPLE_REPORT_RESPONSE);
    }
    staplectl_print_list(ctl->ring, ctl->entries, 0, ctl->now, ctl->pool);
    return STAPLECTL_OK;
}

static int show(staplectl_t *ctl)
{
    int i;

    if (ctl->is_json) {
        return print_json(ctl, STAPLE_REPORT_LINES);
    }
    for (i = 0; i < ctl->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ctl->entries, i, staplectl_entry_t);

        fputs(i ? "\n" : "", stdout);
        staplectl_print_entry(entry, ctl->now, ctl->pool);
        if (ctl->is_text && entry->view.der) {
            fputs("\n", stdout);
            staplectl_print_response(entry);
        }
    }
    return STAPLECTL_OK;
}

static int put_response(const staple_view_t *view, FILE *out, int is_pem)
{
    int is_done = is_pem
        ? PEM_write(out, "OCSP RESPONSE", "", view->der, (long)view->der_len)
        : fwrite(view->der, 1, view->der_len, out) == view->der_len;

    ERR_clear_error();
    return is_done && fflush(out) == 0;
}

static int write_response(const staplectl_t *ctl,
                          const staplectl_entry_t *entry)
{
    FILE *out = ctl->output ? fopen(ctl->output, "wb") : stdout;
    int is_pem = ctl->is_pem || (!ctl->output && isatty(STDOUT_FILENO));
    int is_done = out && put_response(&entry->view, out, is_pem);

    if (out && ctl->output && fclose(out)) {
        is_done = 0;
    }
    return is_done ? STAPLECTL_OK
                   : complain("cannot write to ", ctl->output ? ctl->output
                                                  : "standard output");
}

static int get(staplectl_t *ctl)
{
    const staplectl_entry_t *entry
        = &APR_ARRAY_IDX(ctl->entries, 0, staplectl_entry_t);

    if (ctl->entries->nelts > 1) {
        return complain("several certificates are meant; name one by its "
                        "serial or fingerprint", "");
    }
    return entry->view.der
           ? write_response(ctl, entry)
           : complain("there is no response for ", entry->view.name);
}

static int check(staplectl_t *ctl)
{
    int worst = (int)staplectl_severity_of_ring(ctl->ring, ctl->now), i;

    if (!ctl->is_json) {
        return staplectl_check(ctl->ring, ctl->entries, &ctl->limits, ctl->now,
                               ctl->pool);
    }
    print_json(ctl, STAPLE_REPORT_RESPONSE);
    for (i = 0; i < ctl->entries->nelts; i++) {
        int severity = (int)staplectl_severity_of(
            &APR_ARRAY_IDX(ctl->entries, i, staplectl_entry_t), &ctl->limits,
            ctl->now);

        worst = severity > worst ? severity : worst;
    }
    return worst;
}

/* ----- what is asked of the refresher ----- */

/* One about which nobody is asked; NULL: there is none, or no ring to ask by,
 * which is another matter. */
static const staple_view_t *find_unasked(const staplectl_t *ctl)
{
    int i;

    if (ctl->are_all || ctl->ring->is_missing) {
        return NULL;
    }
    for (i = 0; i < ctl->entries->nelts; i++) {
        const staple_view_t *view = &APR_ARRAY_IDX(ctl->entries, i,
                                                   staplectl_entry_t).view;

        if (!staplectl_entry_is_asked(view)) {
            return view;
        }
    }
    return NULL;
}

static int ask_refresher(staplectl_t *ctl, apr_uint32_t what)
{
    staplectl_request_t request = { ctl->ring_path, what, 0, apr_time_now(),
                                    ctl->wait };
    const staple_view_t *unasked;
    const char *wrong;

    if (!ctl->ring) {
        return complain("a refresher is asked through its ring's file, not by "
                        "a handshake", "");
    }
    unasked = find_unasked(ctl);
    if (unasked) {
        return complain("no responder is asked about this certificate: ",
                        apr_psprintf(ctl->pool, "%s (%s)", unasked->name,
                                     unasked->cause));
    }
    request.are_all = ctl->are_all
                      && ctl->entries->nelts == ctl->ring->entries->nelts;
    wrong = staplectl_ask(&request, ctl->entries, ctl->pool);
    if (wrong) {
        return complain(wrong, "");
    }
    return ctl->wait ? staplectl_await(&request, ctl->entries, ctl->certs,
                                       ctl->pool)
                     : STAPLECTL_OK;
}

static int refresh(staplectl_t *ctl)
{
    return ask_refresher(ctl, STAPLE_CACHE_REFRESH);
}

/* The refresher would keep the response of a must-staple certificate without a
 * word. */
static int forget(staplectl_t *ctl)
{
    int i;

    for (i = 0; !ctl->is_forced && i < ctl->entries->nelts; i++) {
        const staple_view_t *view = &APR_ARRAY_IDX(ctl->entries, i,
                                                   staplectl_entry_t).view;

        if (view->traits.is_must_staple && view->is_stapled) {
            return complain("it is the last valid response of a must-staple "
                            "certificate, without which clients refuse the "
                            "site; --force drops it all the same: ",
                            view->name);
        }
    }
    return ask_refresher(ctl, STAPLE_CACHE_FORGET
                    | (ctl->is_forced ? STAPLE_CACHE_FORCE : 0));
}

/* Ends when somebody ends it, or when the ring cannot be read any more. */
static int watch(staplectl_t *ctl)
{
    apr_pool_t *parent = ctl->pool;
    const char *wrong = NULL;

    if (!ctl->ring) {
        return complain("watch reads a ring; use show --connect", "");
    }
    apr_pool_create(&ctl->pool, parent);
    while (!wrong) {
        fputs(isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "", stdout);
        staplectl_print_list(ctl->ring, ctl->entries,
                             staplectl_print_height() - WATCH_LINES, ctl->now,
                             ctl->pool);
        if (fflush(stdout)) {
            break;
        }
        apr_sleep(WATCH_SPAN);
        apr_pool_clear(ctl->pool);
        ctl->now = apr_time_now();
        ctl->entries = apr_array_make(ctl->pool, 4, sizeof(staplectl_entry_t));
        wrong = load_ring(ctl);
    }
    ctl->pool = parent;
    return wrong ? complain(wrong, "") : STAPLECTL_OK;
}

static int fetch(staplectl_t *ctl)
{
    if (!ctl->patterns->nelts && !ctl->fetch.keep_fresh) {
        return complain("which certificates? Name their PEM files, or a "
                        "directory with --keep-fresh", "");
    }
    ctl->fetch.output = ctl->output;
    ctl->fetch.wait = ctl->wait;
    ctl->fetch.timeout = ctl->timeout;
    return staplectl_fetch(ctl->patterns, &ctl->fetch, ctl->pool);
}

static int lint(staplectl_t *ctl)
{
    if (!ctl->patterns->nelts) {
        return complain("which files? see staplectl --help", "");
    }
    ctl->lint.is_json = ctl->is_json;
    return staplectl_lint(ctl->patterns, &ctl->lint, ctl->pool);
}

static const struct command_t {
    const char *name;
    int (*run)(staplectl_t *ctl);
    int wants_entries; /* out of a ring or a handshake */
    int wants_pattern; /* unless there is --connect */
} commands[] = {
    { "list", list, 1, 0 },
    { "show", show, 1, 1 },
    { "get", get, 1, 1 },
    { "check", check, 1, 0 },
    { "refresh", refresh, 1, 1 },
    { "forget", forget, 1, 1 },
    { "watch", watch, 1, 0 },
    { "fetch", fetch, 0, 0 },
    { "lint", lint, 0, 0 },
    { NULL, NULL, 0, 0 }
};

/* ----- the command line ----- */

static const char *set_limit(staplectl_t *ctl, staplectl_limit_t *limit,
                             const char *arg)
{
    return staplectl_limit_parse(limit, arg)
           ? NULL
           : apr_psprintf(ctl->pool, "'%s' is no limit; write a span (600, "
                          "90m, 36h, 2d) or a part of the validity (25%%)",
                          arg);
}

static const char *state_names(apr_pool_t *p)
{
    const char *names = "";
    int i;

    for (i = 0; i < STAPLE_STATES; i++) {
        names = apr_pstrcat(p, names, i ? ", " : "",
                            staple_state_name((staple_state_e)i), NULL);
    }
    return names;
}

static const char *set_state(staplectl_t *ctl, const char *arg)
{
    ctl->state = staple_state_of_name(arg);
    return ctl->state != STAPLE_STATES
           ? NULL : apr_psprintf(ctl->pool, "'%s' is no state; there are %s",
                                 arg, state_names(ctl->pool));
}

static const char *set_severity(staplectl_t *ctl, const char *arg)
{
    return staplectl_severity_parse(&ctl->limits, arg)
           ? NULL : apr_psprintf(ctl->pool, "'%s' is not STATE=SEVERITY, as in "
                                 "missing=warning; a severity is ok, warning "
                                 "or critical, a state one of %s", arg,
                                 state_names(ctl->pool));
}

static const char *set_timeout(staplectl_t *ctl, const char *arg)
{
    apr_int64_t seconds = apr_isdigit(*arg) ? apr_atoi64(arg) : 0;

    ctl->timeout = apr_time_from_sec(seconds);
    return seconds > 0 && seconds <= 3600
           ? NULL : "--timeout wants seconds, 1 to 3600";
}

static const char *set_wait(staplectl_t *ctl, const char *arg)
{
    staplectl_limit_t limit;

    if (!staplectl_limit_parse(&limit, arg) || limit.percent >= 0) {
        return apr_psprintf(ctl->pool, "'%s' is no span; --wait wants 30s, 5m "
                            "or 2h, say", arg);
    }
    ctl->wait = limit.span;
    return NULL;
}

static const char *add_certs(staplectl_t *ctl, const char *path)
{
    const char *wrong = staplectl_certs_load(ctl->certs, path);

    ctl->has_certs = 1;
    return wrong ? apr_pstrcat(ctl->pool, path, ": ", wrong, NULL) : NULL;
}

static const char *set_option(staplectl_t *ctl, int option, const char *arg)
{
    switch (option) {
    case 'r':
        ctl->ring_path = arg;
        return NULL;
    case 'c':
        return add_certs(ctl, arg);
    case 'w':
        return set_limit(ctl, &ctl->limits.warning, arg);
    case 'C':
        return set_limit(ctl, &ctl->limits.critical, arg);
    case 'o':
        ctl->output = arg;
        return NULL;
    case ALL:
        ctl->are_all = 1;
        return NULL;
    case FORCE:
        ctl->is_forced = 1;
        return NULL;
    case WAIT:
        return set_wait(ctl, arg);
    case ISSUER:
        ctl->fetch.issuer = arg;
        return NULL;
    case KEEP_FRESH:
        ctl->fetch.keep_fresh = arg;
        return NULL;
    case POST_HOOK:
        ctl->fetch.post_hook = arg;
        return NULL;
    case PROXY:
        ctl->fetch.proxy = arg;
        return NULL;
    case CONNECT:
        ctl->connect = arg;
        return NULL;
    case SERVER_NAME:
        ctl->server_name = arg;
        return NULL;
    case TIMEOUT_OPTION:
        return set_timeout(ctl, arg);
    case SEVERITY:
        return set_severity(ctl, arg);
    case STATE:
        return set_state(ctl, arg);
    case TROUBLE:
        ctl->only_trouble = 1;
        return NULL;
    case JSON:
        ctl->is_json = 1;
        return NULL;
    case PEM:
        ctl->is_pem = 1;
        return NULL;
    case TEXT:
        ctl->is_text = 1;
        return NULL;
    case ROOT:
        ctl->lint.root = arg;
        return NULL;
    case VHOST:
        ctl->lint.is_inside_vhost = 1;
        return NULL;
    case 'h':
        fputs(usage, stdout);
        leave(ctl, STAPLECTL_OK);
    default:
        printf("staplectl of mod_staple " STAPLE_VERSION "\n");
        leave(ctl, STAPLECTL_OK);
    }
}

static const struct command_t *find_command(const char *name)
{
    const struct command_t *command = commands;

    while (command->name && strcmp(command->name, name)) {
        command++;
    }
    return command->name ? command : NULL;
}

static const char *suggestion(const char *word, const char *const *words,
                              const char *dashes, apr_pool_t *p)
{
    const char *nearest = staplectl_nearest(word, words);

    return nearest ? apr_psprintf(p, "; did you mean '%s%s'?", dashes, nearest)
                   : "; see staplectl --help";
}

static const char *no_such_command(const staplectl_t *ctl)
{
    const char *words[sizeof(commands) / sizeof(*commands)];
    apr_size_t i;

    for (i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        words[i] = commands[i].name;
    }
    return apr_psprintf(ctl->pool, "there is no command '%s'%s", ctl->command,
                        suggestion(ctl->command, words, "", ctl->pool));
}

/* @param word as it was typed */
static const char *bad_option(apr_status_t rv, const char *word, apr_pool_t *p)
{
    const char *words[sizeof(options) / sizeof(*options)];
    apr_size_t i;

    if (rv == APR_BADARG) {
        return apr_psprintf(p, "the option '%s' lacks its value; see "
                            "staplectl --help", word);
    }
    for (i = 0; i < sizeof(options) / sizeof(*options); i++) {
        words[i] = options[i].name;
    }
    return apr_psprintf(p, "there is no option '%s'%s", word,
                        suggestion(word + strspn(word, "-"), words, "--", p));
}

/* Options may stand anywhere; what is left are the command and patterns. */
static const char *read_options(staplectl_t *ctl, int argc,
                                const char *const *argv)
{
    const char *wrong = NULL;
    apr_getopt_t *opt;
    apr_status_t rv;
    const char *arg;
    int option;

    apr_getopt_init(&opt, ctl->pool, argc, argv);
    opt->interleave = 1;
    opt->errfn = NULL;
    while (!wrong
           && (rv = apr_getopt_long(opt, options, &option, &arg)) != APR_EOF) {
        wrong = rv ? bad_option(rv, opt->argv[opt->ind - 1], ctl->pool)
                   : set_option(ctl, option, arg);
    }
    if (!wrong && opt->ind < argc) {
        ctl->command = opt->argv[opt->ind++];
    }
    for (; !wrong && opt->ind < argc; opt->ind++) {
        APR_ARRAY_PUSH(ctl->patterns, const char *) = opt->argv[opt->ind];
    }
    return wrong;
}

/* Of a certificate whose file is given, show needs no name. */
static int lacks_pattern(const staplectl_t *ctl,
                         const struct command_t *command)
{
    return command->wants_pattern && !ctl->connect && !ctl->are_all
           && !ctl->patterns->nelts
           && !(ctl->has_certs && command->run == show);
}

static int run(staplectl_t *ctl, int argc, const char *const *argv)
{
    const struct command_t *command;
    const char *wrong = read_options(ctl, argc, argv);

    if (wrong) {
        return complain(wrong, "");
    }
    if (!ctl->command) {
        fputs(usage, stderr);
        return STAPLECTL_UNKNOWN;
    }
    command = find_command(ctl->command);
    if (!command) {
        return complain(no_such_command(ctl), "");
    }
    if (lacks_pattern(ctl, command)) {
        return complain("which certificate? see staplectl --help", "");
    }
    ctl->only_given = command->run == show && !ctl->patterns->nelts;
    if (command->wants_entries) {
        wrong = ctl->connect ? ask_server(ctl) : read_ring(ctl);
    }
    if (wrong) {
        return complain(wrong, "");
    }
    return command->run(ctl);
}

int main(int argc, const char *const *argv)
{
    staplectl_t ctl;

    apr_initialize();
    memset(&ctl, 0, sizeof(ctl));
    apr_pool_create(&ctl.pool, NULL);
    ctl.now = apr_time_now();
    ctl.ring_path = getenv("STAPLE_RING");
    ctl.timeout = apr_time_from_sec(TIMEOUT);
    ctl.state = STAPLE_STATES;
    staplectl_limits_init(&ctl.limits);
    ctl.certs = staplectl_certs_make(ctl.pool);
    ctl.patterns = apr_array_make(ctl.pool, 4, sizeof(const char *));
    ctl.entries = apr_array_make(ctl.pool, 4, sizeof(staplectl_entry_t));
    leave(&ctl, run(&ctl, argc, argv));
}
