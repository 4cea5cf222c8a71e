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
 * It only ever reads. Statuses are those of monitoring plug-ins for every
 * command: 3 says that nothing could be found out.
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
    const char *output;      /* a file; NULL: standard output */
    staplectl_lint_options_t lint;
    staplectl_certs_t *certs;
    apr_array_header_t *patterns; /* const char * */
    staplectl_ring_t *ring;       /* NULL: entries come from a handshake */
    apr_array_header_t *entries;  /* staplectl_entry_t: those meant */
} staplectl_t;

/* Options without a letter of their own. */
enum {
    CONNECT = 256,
    SERVER_NAME,
    TIMEOUT_OPTION,
    JSON,
    PEM,
    TEXT,
    ROOT,
    VHOST,
    VERSION
};

static const apr_getopt_option_t options[] = {
    { "ring", 'r', 1, NULL },
    { "cert", 'c', 1, NULL },
    { "connect", CONNECT, 1, NULL },
    { "servername", SERVER_NAME, 1, NULL },
    { "timeout", TIMEOUT_OPTION, 1, NULL },
    { "warning", 'w', 1, NULL },
    { "critical", 'C', 1, NULL },
    { "output", 'o', 1, NULL },
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
    "       staplectl lint  FILE...           what mod_staple will make of\n"
    "                                         a configuration\n"
    "\n"
    "CERTIFICATE is the name of its first virtual host (with --cert: any\n"
    "host name of its), a serial, or a SHA-1 fingerprint or its beginning.\n"
    "\n"
    "Where from:\n"
    "  -r, --ring FILE        the ring, the path in SSLStaplingCache\n"
    "                         \"shmcb:path(size)\"; or set STAPLE_RING\n"
    "  -c, --cert FILE        certificates of the server and of authorities,\n"
    "                         PEM, to name and to judge by; repeatable\n"
    "      --connect HOST[:PORT]  shake hands instead of reading a ring\n"
    "      --servername NAME  whom to ask for there (default: HOST)\n"
    "      --timeout SECONDS  for the handshake (10)\n"
    "What:\n"
    "  -w, --warning LIMIT    check: warn when less is left of a response's\n"
    "                         validity: 36h, 2d, 90m, 600, 25% (25%)\n"
    "  -C, --critical LIMIT   the same for critical (10%)\n"
    "      --text             show: the response in full, too\n"
    "      --pem              get: PEM rather than DER\n"
    "  -o, --output FILE      get: write to a file\n"
    "      --root DIR         lint: the ServerRoot, where includes begin\n"
    "      --vhost            lint: the files are read inside a <VirtualHost>\n"
    "      --json             list, show, check, lint: JSON\n"
    "  -h, --help             --version\n"
    "\n"
    "Exit status: 0 ok, 1 warning, 2 critical, 3 nothing could be found out.\n"
    "lint: 0 all is kept, 1 a line means something else or nothing, 2 a line\n"
    "is illegal or in conflict, 3 a file cannot be read.\n";

static int complain(const char *what, const char *more)
{
    fprintf(stderr, "staplectl: %s%s\n", what, more);
    return STAPLECTL_UNKNOWN;
}

/* ----- where entries come from ----- */

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
    target->name = ctl->server_name ? ctl->server_name
                   : strspn(host, "0123456789.:") == strlen(host) ? NULL
                   : host;
    return NULL;
}

static const char *ask_server(staplectl_t *ctl)
{
    staplectl_entry_t *entry;
    const unsigned char *der;
    staplectl_target_t target;
    apr_size_t len;
    const char *wrong = read_target(ctl, &target);

    if (!wrong) {
        wrong = staplectl_tls_ask(&target, ctl->certs, &der, &len, ctl->pool);
    }
    if (!wrong) {
        wrong = staplectl_certs_finish(ctl->certs);
    }
    if (wrong) {
        return wrong;
    }
    entry = apr_array_push(ctl->entries);
    if (!staplectl_certs_first(ctl->certs, entry)) {
        return "the server showed no certificate of its own";
    }
    entry->der = der;
    entry->der_len = len;
    staplectl_entry_judge(entry, ctl->now, ctl->pool);
    return der && !entry->is_judged
           ? "the server does not send its issuer's certificate, so its staple "
             "cannot be judged; give it with --cert" : NULL;
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
    return !ctl->patterns->nelts;
}

/* Every pattern has to mean something: what is not there is not well. */
static const char *find_unmatched(const staplectl_t *ctl)
{
    int i, j;

    for (i = 0; i < ctl->patterns->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(ctl->patterns, i, const char *);
        int found = 0;

        for (j = 0; !found && j < ctl->entries->nelts; j++) {
            found = staplectl_entry_matches(
                &APR_ARRAY_IDX(ctl->entries, j, staplectl_entry_t), pattern,
                ctl->pool);
        }
        if (!found) {
            return pattern;
        }
    }
    return NULL;
}

static const char *select_entries(staplectl_t *ctl)
{
    const char *unmatched;
    int i;

    for (i = 0; i < ctl->ring->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ctl->ring->entries, i, staplectl_entry_t);

        if (is_meant(ctl, entry)) {
            APR_ARRAY_PUSH(ctl->entries, staplectl_entry_t) = *entry;
        }
    }
    unmatched = find_unmatched(ctl);
    return unmatched
           ? apr_psprintf(ctl->pool, "%s: no such certificate in %s (it "
                          "knows the first virtual host's name; others are "
                          "known from files given with --cert)",
                          unmatched, ctl->ring->path)
           : NULL;
}

static const char *read_ring(staplectl_t *ctl)
{
    const char *wrong;

    if (!ctl->ring_path) {
        return "which ring? Name it with --ring FILE or STAPLE_RING: it is the "
               "path in SSLStaplingCache \"shmcb:path(size)\"";
    }
    wrong = staplectl_certs_finish(ctl->certs);
    if (!wrong) {
        wrong = staplectl_ring_load(&ctl->ring, ctl->ring_path, ctl->certs,
                                    ctl->now, ctl->pool);
    }
    return wrong ? wrong : select_entries(ctl);
}

/* ----- commands ----- */

static int list(staplectl_t *ctl)
{
    if (!ctl->ring) {
        return complain("list reads a ring; use show --connect", "");
    }
    if (ctl->is_json) {
        staplectl_print_json(ctl->ring, ctl->entries, &ctl->limits, ctl->now,
                             ctl->pool);
    }
    else {
        staplectl_print_list(ctl->ring, ctl->entries, ctl->now, ctl->pool);
    }
    return STAPLECTL_OK;
}

static int show(staplectl_t *ctl)
{
    int i;

    if (ctl->is_json) {
        staplectl_print_json(ctl->ring, ctl->entries, &ctl->limits, ctl->now,
                             ctl->pool);
        return STAPLECTL_OK;
    }
    for (i = 0; i < ctl->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ctl->entries, i, staplectl_entry_t);

        fputs(i ? "\n" : "", stdout);
        staplectl_print_entry(entry, ctl->now, ctl->pool);
        if (ctl->is_text && entry->der) {
            fputs("\n", stdout);
            staplectl_print_response(entry, ctl->pool);
        }
    }
    return STAPLECTL_OK;
}

static int put_response(const staplectl_entry_t *entry, FILE *out, int is_pem)
{
    int is_done = is_pem
        ? PEM_write(out, "OCSP RESPONSE", "", entry->der, (long)entry->der_len)
        : fwrite(entry->der, 1, entry->der_len, out) == entry->der_len;

    ERR_clear_error();
    return is_done && fflush(out) == 0;
}

static int write_response(const staplectl_t *ctl,
                          const staplectl_entry_t *entry)
{
    FILE *out = ctl->output ? fopen(ctl->output, "wb") : stdout;
    int is_pem = ctl->is_pem || (!ctl->output && isatty(STDOUT_FILENO));
    int is_done = out && put_response(entry, out, is_pem);

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
    return entry->der ? write_response(ctl, entry)
                      : complain("there is no response for ",
                                 staplectl_entry_name(entry, ctl->pool));
}

/* What a check came to. */
typedef struct summary_t {
    staplectl_exit_e worst;
    int trouble;      /* certificates that are not well */
    apr_time_t until; /* the first end of a response; 0: none is held */
    apr_array_header_t *lines; /* const char *: one for each in trouble */
} summary_t;

static void sum_up(const staplectl_t *ctl, summary_t *sum)
{
    int i;

    memset(sum, 0, sizeof(*sum));
    sum->lines = apr_array_make(ctl->pool, 4, sizeof(const char *));
    for (i = 0; i < ctl->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ctl->entries, i, staplectl_entry_t);
        const char *words;
        staplectl_exit_e severity = staplectl_check(entry, &ctl->limits,
                                                    ctl->now, &words,
                                                    ctl->pool);

        if (severity > sum->worst) {
            sum->worst = severity;
        }
        if (entry->der && (!sum->until || entry->until < sum->until)) {
            sum->until = entry->until;
        }
        if (severity != STAPLECTL_OK || ctl->entries->nelts == 1) {
            APR_ARRAY_PUSH(sum->lines, const char *)
                = apr_pstrcat(ctl->pool, staplectl_entry_name(entry,
                                                              ctl->pool),
                              ": ", words, NULL);
        }
        sum->trouble += severity != STAPLECTL_OK;
    }
}

static void print_summary(const staplectl_t *ctl, const summary_t *sum)
{
    static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
    int count = ctl->entries->nelts;
    int i;

    printf("STAPLE %s - ", words[sum->worst]);
    if (sum->lines->nelts == 1 && count == 1) {
        printf("%s", APR_ARRAY_IDX(sum->lines, 0, const char *));
    }
    else if (sum->trouble) {
        printf("%d of %d certificates need attention", sum->trouble, count);
    }
    else {
        printf("%d certificates, all is well", count);
    }
    printf(" | certificates=%d trouble=%d", count, sum->trouble);
    if (sum->until) {
        printf(" left=%" APR_INT64_T_FMT "s",
               (apr_int64_t)apr_time_sec(sum->until - ctl->now));
    }
    printf("\n");
    for (i = 0; count > 1 && i < sum->lines->nelts; i++) {
        printf("%s\n", APR_ARRAY_IDX(sum->lines, i, const char *));
    }
}

static int check(staplectl_t *ctl)
{
    summary_t sum;

    sum_up(ctl, &sum);
    if (ctl->is_json) {
        staplectl_print_json(ctl->ring, ctl->entries, &ctl->limits, ctl->now,
                             ctl->pool);
    }
    else {
        print_summary(ctl, &sum);
    }
    return (int)sum.worst;
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

static const char *set_timeout(staplectl_t *ctl, const char *arg)
{
    apr_int64_t seconds = apr_isdigit(*arg) ? apr_atoi64(arg) : 0;

    ctl->timeout = apr_time_from_sec(seconds);
    return seconds > 0 && seconds <= 3600
           ? NULL : "--timeout wants seconds, 1 to 3600";
}

static const char *set_option(staplectl_t *ctl, int option, const char *arg)
{
    switch (option) {
    case 'r':
        ctl->ring_path = arg;
        return NULL;
    case 'c':
        return staplectl_certs_load(ctl->certs, arg);
    case 'w':
        return set_limit(ctl, &ctl->limits.warning, arg);
    case 'C':
        return set_limit(ctl, &ctl->limits.critical, arg);
    case 'o':
        ctl->output = arg;
        return NULL;
    case CONNECT:
        ctl->connect = arg;
        return NULL;
    case SERVER_NAME:
        ctl->server_name = arg;
        return NULL;
    case TIMEOUT_OPTION:
        return set_timeout(ctl, arg);
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
        exit(STAPLECTL_OK);
    default:
        printf("staplectl of mod_staple " STAPLE_VERSION "\n");
        exit(STAPLECTL_OK);
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
        wrong = rv ? "an option is not known or lacks its value; see "
                     "staplectl --help"
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

static int run(staplectl_t *ctl, int argc, const char *const *argv)
{
    const struct command_t *command;
    const char *wrong = read_options(ctl, argc, argv);

    if (wrong) {
        return complain(wrong, "");
    }
    command = ctl->command ? find_command(ctl->command) : NULL;
    if (!command) {
        fputs(usage, stderr);
        return STAPLECTL_UNKNOWN;
    }
    if (command->wants_pattern && !ctl->connect && !ctl->patterns->nelts) {
        return complain("which certificate? see staplectl --help", "");
    }
    wrong = !command->wants_entries ? NULL
            : ctl->connect ? ask_server(ctl) : read_ring(ctl);
    if (wrong) {
        return complain(wrong, "");
    }
    return command->run(ctl);
}

int main(int argc, const char *const *argv)
{
    staplectl_t ctl;
    int status;

    apr_initialize();
    memset(&ctl, 0, sizeof(ctl));
    apr_pool_create(&ctl.pool, NULL);
    ctl.now = apr_time_now();
    ctl.ring_path = getenv("STAPLE_RING");
    ctl.timeout = apr_time_from_sec(TIMEOUT);
    staplectl_limit_parse(&ctl.limits.warning, "25%");
    staplectl_limit_parse(&ctl.limits.critical, "10%");
    ctl.certs = staplectl_certs_make(ctl.pool);
    ctl.patterns = apr_array_make(ctl.pool, 4, sizeof(const char *));
    ctl.entries = apr_array_make(ctl.pool, 4, sizeof(staplectl_entry_t));
    status = run(&ctl, argc, argv);
    if (fflush(stdout) && status == STAPLECTL_OK) {
        status = complain("standard output cannot be written", "");
    }
    apr_pool_destroy(ctl.pool);
    apr_terminate();
    return status;
}
