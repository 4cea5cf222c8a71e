/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl fetch: which certificates, where their responses go, and what is
 * said of it. How they are fetched is staplectl/fetch.c.
 *
 * The one idea: a file that is there is replaced as a whole, by a response that
 * was verified and is better than what it has, or it stays as it is. So a
 * server may read it at any moment.
 *
 * Root may do this in the directories of others, who may put anything there,
 * and exchange it at any moment. So a file is given its mode by the descriptor,
 * and nothing is opened that is not regular (staplectl/regular.c).
 */

#include "keep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_portable.h>
#include <apr_strings.h>

#include "staple_rules.h"
#include "staple_text.h"
#include "staple_words.h"

#define SUFFIX ".ocsp"

/* How deep --keep-fresh looks: /etc/letsencrypt/live/NAME/FILE is two. */
#define DEPTH_MAX 4

/* No certificate with its chain is larger. */
#define CERTIFICATE_MAX ((apr_size_t)1024 * 1024)

/* No longer is what a hook gets in a variable: Linux runs nothing with one of
 * 128 KiB. */
#define FILES_MAX ((apr_size_t)100000)

/* ----- what is there ----- */

static void note_held(item_t *item, const staple_ocsp_verdict_t *verdict,
                      apr_time_t fetched_at)
{
    item->held.this_update = verdict->this_update;
    item->held.next_update = verdict->next_update;
    item->held.status = (apr_uint32_t)verdict->status;
    item->held.fetched_at = fetched_at;
}

/* A response of another certificate, an old one or no response counts as
 * none. */
static void read_held(item_t *item, apr_time_t now)
{
    static unsigned char der[STAPLE_CACHE_DER_MAX + 1];
    staple_ocsp_verdict_t verdict;
    apr_time_t changed;
    apr_ssize_t len = staplectl_read_regular(item->output, der, sizeof(der),
                                             &changed);

    if (len > 0 && staple_rules_is_believed(item->cert, der, (apr_size_t)len,
                                            now, &verdict)) {
        note_held(item, &verdict, changed);
    }
}

static int is_due(const item_t *item, apr_time_t now)
{
    const staple_cert_t *cert = item->cert;

    return !item->held.this_update || item->held.status != STAPLE_OCSP_GOOD
           || now >= staple_rules_due(cert->policy, cert->id,
                                      &item->held, -1);
}

/* ----- what is put there ----- */

static apr_status_t make_readable(apr_file_t *file)
{
    apr_os_file_t fd;
    apr_status_t rv = apr_os_file_get(&fd, file);

    return !rv && fchmod(fd, 0644) ? errno : rv;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Where path is written to before it is renamed, in the same directory. What
 * reads that may find it, as long as it is written and after a crash: HAProxy
 * takes each name for a certificate's that does not begin with a dot. */
static char *name_for_now(const char *path, apr_pool_t *p)
{
    const char *base = base_of(path);

    return apr_pstrcat(p, apr_pstrmemdup(p, path, (apr_size_t)(base - path)),
                       ".", base, ".XXXXXX", NULL);
}

static apr_status_t write_file(const char *path, const unsigned char *der,
                               apr_size_t len, apr_pool_t *p)
{
    char *name = name_for_now(path, p);
    apr_file_t *file;
    apr_status_t rv = apr_file_mktemp(&file, name,
                                      APR_CREATE | APR_READ | APR_WRITE
                                      | APR_EXCL | APR_BINARY, p);

    if (rv) {
        return rv;
    }
    rv = apr_file_write_full(file, der, len, NULL);
    if (!rv) {
        rv = make_readable(file);
    }
    if (!rv) {
        rv = apr_file_sync(file);
    }
    apr_file_close(file);
    if (!rv) {
        rv = apr_file_rename(name, path, p);
    }
    if (rv) {
        apr_file_remove(name, p);
    }
    return rv;
}

/* What another program has put there may say revoked. */
static void leave_held(item_t *item)
{
    if (item->held.status == STAPLE_OCSP_GOOD) {
        item->end = ITEM_FRESH;
        item->until = staple_rules_serve_until(item->cert->policy, &item->held);
        return;
    }
    item->end = ITEM_FAILED;
    item->why = apr_pstrcat(item->pool, item->output, " says ",
                            item->held.status == STAPLE_OCSP_REVOKED
                            ? "revoked" : "unknown",
                            ", and nothing newer came", NULL);
}

void staplectl_keep_put(item_t *item, const staple_ocsp_verdict_t *verdict,
                        const unsigned char *der, apr_size_t len)
{
    const staple_cert_policy_t *policy = item->cert->policy;
    apr_time_t now = apr_time_now();
    apr_status_t rv;

    if (item->held.this_update
        && !staple_rules_is_better(policy, &item->held, verdict, 0, now)) {
        leave_held(item);
        return;
    }
    rv = write_file(item->output, der, len, item->pool);
    if (rv) {
        item->end = ITEM_UNWRITTEN;
        item->why = staple_text_error(rv, item->pool);
        return;
    }
    item->end = ITEM_WRITTEN;
    item->until = staple_rules_until(policy, verdict);
}

/* ----- which certificates ----- */

static void end_item(item_t *item, item_end_e end, const char *why)
{
    item->end = end;
    item->why = why;
}

static const char *load(staplectl_certs_t *certs, const item_t *item,
                        const char *issuer)
{
    const char *wrong
        = item->is_found
          ? staplectl_certs_load_small(certs, item->path, CERTIFICATE_MAX)
          : staplectl_certs_load(certs, item->path);

    if (wrong || !issuer) {
        return wrong;
    }
    wrong = staplectl_certs_load(certs, issuer);
    return wrong ? apr_pstrcat(item->pool, issuer, ": ", wrong, NULL) : NULL;
}

/* Somebody's files may hold many large certificates, and there may be many such
 * files: of each only a record of one certificate is kept. */
static void describe(item_t *item, const char *issuer)
{
    staplectl_certs_t *certs;
    apr_pool_t *scratch;
    const char *wrong;

    apr_pool_create(&scratch, item->pool);
    certs = staplectl_certs_make(scratch);
    wrong = load(certs, item, issuer);
    if (!wrong) {
        wrong = staplectl_certs_first(certs, &item->cert, item->pool);
    }
    item->why = apr_pstrdup(item->pool, wrong);
    apr_pool_destroy(scratch);
}

/* Why there is nothing to ask. */
static const char *why_not(const staple_cert_t *cert)
{
    return cert->scope == STAPLE_CERT_WRONG_ISSUER
           ? "the issuer in the chain did not sign this certificate: there may "
             "be two CAs of that name, so look at what follows it in its file "
             "and at that of --issuer"
           : staple_cert_scope_text(cert->scope);
}

/* Whether it should have a response, but cannot. */
static int is_bad(const staple_cert_t *cert)
{
    return cert->is_must_staple || staple_cert_is_faulty(cert);
}

static void examine(item_t *item, const staplectl_fetch_options_t *options)
{
    const staple_cert_t *cert;
    apr_time_t now = apr_time_now();

    describe(item, options->issuer);
    cert = item->cert;
    if (!cert) {
        item->end = ITEM_UNREADABLE;
        return;
    }
    if (cert->scope == STAPLE_CERT_NO_ISSUER
        || (cert->scope == STAPLE_CERT_APPLIES && !cert->subject)) {
        end_item(item, ITEM_UNREADABLE, "the certificate of its issuer is "
                 "needed; put it into the same file, or name its file with "
                 "--issuer");
    }
    else if (cert->scope != STAPLE_CERT_APPLIES) {
        end_item(item, is_bad(cert) ? ITEM_FAILED : ITEM_NONE, why_not(cert));
    }
    else if (now > cert->not_after) {
        end_item(item, ITEM_FAILED, "the certificate has expired");
    }
    else {
        read_held(item, now);
    }
    if (item->end == ITEM_OPEN && options->keep_fresh && !is_due(item, now)) {
        leave_held(item);
    }
}

static int is_directory(const char *path, apr_pool_t *p)
{
    apr_finfo_t info;

    return !apr_stat(&info, path, APR_FINFO_TYPE, p)
           && info.filetype == APR_DIR;
}

/* Beside the certificate, where HAProxy looks for it; or where --out says. */
static const char *output_of(const char *path, const char *output,
                             apr_pool_t *p)
{
    if (!output) {
        return apr_pstrcat(p, path, SUFFIX, NULL);
    }
    return is_directory(output, p)
           ? apr_pstrcat(p, output, "/", base_of(path), SUFFIX, NULL) : output;
}

/* A name in a directory, by which path ever that is reached. The file is not
 * looked at: a link to a certificate has a response of its own beside it. */
static const char *place_of(const char *path, apr_pool_t *p)
{
    const char *base = base_of(path);
    const char *directory = base == path
        ? "." : apr_pstrmemdup(p, path, (apr_size_t)(base - path));
    apr_finfo_t info;

    return apr_stat(&info, directory, APR_FINFO_DEV | APR_FINFO_INODE, p)
           ? apr_pstrdup(p, path)
           : apr_psprintf(p, "%" APR_UINT64_T_FMT ":%" APR_UINT64_T_FMT "/%s",
                          (apr_uint64_t)info.device, (apr_uint64_t)info.inode,
                          base);
}

static item_t *make_item(const char *path,
                         const staplectl_fetch_options_t *options,
                         apr_pool_t *p)
{
    apr_pool_t *own;
    item_t *item;

    apr_pool_create(&own, p);
    item = apr_pcalloc(own, sizeof(*item));
    item->pool = own;
    item->path = apr_pstrdup(own, path);
    item->place = place_of(path, own);
    item->output = output_of(path, options->output, own);
    return item;
}

/* What is named and what is found in directories becomes items. */
typedef struct walk_t {
    apr_array_header_t *items; /* item_t * */
    apr_hash_t *by_place;      /* the same */
    const staplectl_fetch_options_t *options;
    int status;                /* staplectl_exit_e */
    apr_pool_t *pool;
} walk_t;

static void push_item(walk_t *walk, item_t *item)
{
    APR_ARRAY_PUSH(walk->items, item_t *) = item;
    apr_hash_set(walk->by_place, item->place, APR_HASH_KEY_STRING, item);
}

/* A file that is named twice, or named and found, is one item.
 * @return NULL: it is there already */
static item_t *make_new_item(const walk_t *walk, const char *path)
{
    item_t *item = make_item(path, walk->options, walk->pool);

    if (apr_hash_get(walk->by_place, item->place, APR_HASH_KEY_STRING)) {
        apr_pool_destroy(item->pool);
        return NULL;
    }
    return item;
}

static void add_named(walk_t *walk, const char *path)
{
    item_t *item = make_new_item(walk, path);

    if (!item) {
        return;
    }
    examine(item, walk->options);
    push_item(walk, item);
}

static int is_pem_name(const char *name)
{
    const char *end = strrchr(name, '.');

    return end && (!strcmp(end, ".pem") || !strcmp(end, ".crt")
                   || !strcmp(end, ".cer"));
}

/* Such names would be more than one line to a hook. */
static int has_control(const char *name)
{
    while (*name && !apr_iscntrl(*name)) {
        name++;
    }
    return *name != '\0';
}

/* Keys, chains and the like lie there, too: what has no certificate of a server
 * with its issuer is passed over. */
static void add_found(walk_t *walk, const char *path)
{
    item_t *item = make_new_item(walk, path);

    if (!item) {
        return;
    }
    item->is_found = 1;
    examine(item, walk->options);
    if (item->end == ITEM_UNREADABLE || item->end == ITEM_NONE) {
        apr_pool_destroy(item->pool);
        return;
    }
    push_item(walk, item);
}

static void walk_into(walk_t *walk, const char *path, int depth);

/* A link to a directory is not followed: it may lead back. */
static void look_at(walk_t *walk, const apr_finfo_t *entry, const char *path,
                    int depth)
{
    if (*entry->name == '.') {
        return;
    }
    if (entry->filetype == APR_DIR && !has_control(entry->name)) {
        walk_into(walk, path, depth + 1);
    }
    else if (is_pem_name(entry->name) && !has_control(entry->name)) {
        add_found(walk, path);
    }
}

static void say_unread(walk_t *walk, const char *path, apr_status_t rv)
{
    fprintf(stderr, "staplectl: %s cannot be read: %s\n",
            staple_text_string(path, walk->pool),
            staple_text_error(rv, walk->pool));
    walk->status = STAPLECTL_UNKNOWN;
}

/* What an entry takes is given back before the next one: there may be many. */
static apr_status_t read_entries(walk_t *walk, apr_dir_t *dir, const char *path,
                                 int depth, apr_pool_t *p)
{
    apr_finfo_t entry;
    apr_pool_t *scratch;
    apr_status_t rv;

    apr_pool_create(&scratch, p);
    while (!(rv = apr_dir_read(&entry, APR_FINFO_NAME | APR_FINFO_TYPE, dir))
           || APR_STATUS_IS_INCOMPLETE(rv)) {
        if (!rv) {
            look_at(walk, &entry, apr_pstrcat(scratch, path, "/", entry.name,
                                              NULL), depth);
            apr_pool_clear(scratch);
        }
    }
    return rv;
}

/* What is removed meanwhile, a file or a directory, is not missed. */
static void walk_into(walk_t *walk, const char *path, int depth)
{
    apr_dir_t *dir = NULL;
    apr_pool_t *p;
    apr_status_t rv;

    if (depth > DEPTH_MAX) {
        return;
    }
    apr_pool_create(&p, walk->pool);
    rv = apr_dir_open(&dir, path, p);
    if (!rv) {
        rv = read_entries(walk, dir, path, depth, p);
    }
    if (!APR_STATUS_IS_ENOENT(rv) || (!dir && !depth)) {
        say_unread(walk, path, rv);
    }
    apr_pool_destroy(p);
}

static int has_response(const item_t *item)
{
    return item->end == ITEM_OPEN || item->end == ITEM_FRESH;
}

static void note_collision(item_t *item, const item_t *other)
{
    if (has_response(item)) {
        end_item(item, ITEM_COLLIDING,
                 apr_psprintf(item->pool, "%s would get the response of %s, "
                              "too, so neither was fetched; leave --output "
                              "away, and each goes beside its certificate",
                              item->output, other->path));
    }
}

/* Of two responses for one file none is written: whichever came last would
 * stay there. All others are fetched, whoever put the second one there. */
static void end_collisions(const apr_array_header_t *items, apr_pool_t *p)
{
    apr_hash_t *outputs = apr_hash_make(p);
    int i;

    for (i = 0; i < items->nelts; i++) {
        item_t *item = APR_ARRAY_IDX(items, i, item_t *);
        item_t *other = apr_hash_get(outputs, item->output,
                                     APR_HASH_KEY_STRING);

        if (!has_response(item)) {
            continue;
        }
        if (other) {
            note_collision(other, item);
            note_collision(item, other);
        }
        else {
            apr_hash_set(outputs, item->output, APR_HASH_KEY_STRING, item);
        }
    }
}

/* ----- what is said of it ----- */

/* What is wrong with a file is said of the file: several may hold certificates
 * of one name. */
static const char *subject_of(const item_t *item)
{
    return item->end == ITEM_UNREADABLE || item->end == ITEM_COLLIDING
           ? item->path : item->cert->name;
}

/* A line about a certificate. Names in it are anybody's, so what a terminal
 * would obey is replaced. */
static void put(FILE *out, const item_t *item, const char *text)
{
    const char *line = apr_pstrcat(item->pool, subject_of(item), ": ", text,
                                   NULL);

    fprintf(out, "%s\n", staple_text_string(line, item->pool));
}

static int say_good(const item_t *item)
{
    put(stdout, item,
        apr_psprintf(item->pool, "%s %s, valid until %s",
                     item->end == ITEM_WRITTEN ? "written to"
                                               : "nothing newer than",
                     item->output,
                     staple_words_when_text(item->until, item->pool)));
    return STAPLECTL_OK;
}

static const char *held_until(const item_t *item)
{
    return staple_words_when_text(
        staple_rules_serve_until(item->cert->policy, &item->held), item->pool);
}

/* What is there and valid still staples: that is a warning. */
static int say_failed(const item_t *item)
{
    if (item->held.this_update && item->held.status == STAPLE_OCSP_GOOD) {
        put(stderr, item,
            apr_psprintf(item->pool, "%s; %s is valid until %s", item->why,
                         item->output, held_until(item)));
        return STAPLECTL_WARNING;
    }
    put(stderr, item, item->why);
    return STAPLECTL_CRITICAL;
}

static int say(const item_t *item)
{
    switch (item->end) {
    case ITEM_WRITTEN:
    case ITEM_FRESH:
        return say_good(item);
    case ITEM_NONE:
        put(stdout, item, apr_pstrcat(item->pool, "no response is needed: ",
                                      item->why, NULL));
        return STAPLECTL_OK;
    case ITEM_REVOKED:
        put(stderr, item, "the responder says that the certificate is revoked; "
            "nothing was written");
        return STAPLECTL_CRITICAL;
    case ITEM_UNWRITTEN:
        put(stderr, item, apr_pstrcat(item->pool, item->output,
                                      " cannot be written: ", item->why, NULL));
        return STAPLECTL_CRITICAL;
    case ITEM_UNREADABLE:
    case ITEM_COLLIDING:
        put(stderr, item, item->why);
        return STAPLECTL_UNKNOWN;
    default:
        return say_failed(item);
    }
}

static apr_array_header_t *written_files(const apr_array_header_t *items,
                                         apr_pool_t *p)
{
    apr_array_header_t *files = apr_array_make(p, items->nelts + 1,
                                               sizeof(const char *));
    int i;

    for (i = 0; i < items->nelts; i++) {
        const item_t *item = APR_ARRAY_IDX(items, i, item_t *);

        if (item->end == ITEM_WRITTEN) {
            APR_ARRAY_PUSH(files, const char *) = item->output;
        }
    }
    return files;
}

/* STAPLE_COUNT always, STAPLE_FILES only if a command can be run with it. */
static void tell_hook(const apr_array_header_t *files, apr_pool_t *p)
{
    const char *list = apr_array_pstrcat(p, files, '\n');

    setenv("STAPLE_COUNT", apr_itoa(p, files->nelts), 1);
    setenv("STAPLE_FILES", strlen(list) <= FILES_MAX ? list : "", 1);
}

typedef void on_signal_t(int);

/* A command gets SIGPIPE as this program got it: what it runs may rely on it to
 * end a pipeline. */
static int run_command(const char *command, on_signal_t *before)
{
    on_signal_t *ours = signal(SIGPIPE, before);
    int status = system(command);

    signal(SIGPIPE, ours);
    return status;
}

/* Only where something new was written. */
static int run_hook(const char *hook, on_signal_t *before,
                    const apr_array_header_t *items, apr_pool_t *p)
{
    const apr_array_header_t *files = written_files(items, p);

    if (!files->nelts) {
        return STAPLECTL_OK;
    }
    tell_hook(files, p);
    fflush(stdout);
    if (run_command(hook, before) == 0) {
        return STAPLECTL_OK;
    }
    fprintf(stderr, "staplectl: the command of --post-hook failed\n");
    return STAPLECTL_CRITICAL;
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

int staplectl_fetch(const apr_array_header_t *paths,
                    const staplectl_fetch_options_t *options, apr_pool_t *p)
{
    apr_array_header_t *items = apr_array_make(p, 4, sizeof(item_t *));
    walk_t walk = { items, apr_hash_make(p), options, STAPLECTL_OK, p };
    on_signal_t *before = signal(SIGPIPE, SIG_IGN);
    int i, status;

    for (i = 0; i < paths->nelts; i++) {
        add_named(&walk, APR_ARRAY_IDX(paths, i, const char *));
    }
    if (options->keep_fresh) {
        walk_into(&walk, options->keep_fresh, 0);
    }
    end_collisions(items, p);
    staplectl_fetch_items(items, options, p);
    status = walk.status;
    for (i = 0; i < items->nelts; i++) {
        status = worse(status, say(APR_ARRAY_IDX(items, i, item_t *)));
    }
    return options->post_hook
           ? worse(status, run_hook(options->post_hook, before, items, p))
           : status;
}
