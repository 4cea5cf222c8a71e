/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Responses that an administrator puts into files (StapleResponseFile), for
 * servers that have no way out to a responder: when to look again, and how
 * bytes become DER. Whether they are true is judged like any other response.
 *
 * The one idea: a file is known by its inode, size and times, so a new one is
 * taken over however it was put there; half a file that is still
 * being written does not verify, and is read again when it has changed.
 */

#include "refresh_int.h"

#include <errno.h>
#include <string.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

/* PEM takes a third more than DER, and may have words around it. */
#define FILE_SIZE_MAX ((apr_off_t)(2 * STAPLE_CACHE_DER_MAX))

#define PEM_NAME "OCSP RESPONSE"

/* How often the files of StapleResponseFile are looked at, and how often a
 * certificate whose response has ended is brought to mind. */
#define FILE_PAUSE SECONDS(1)
#define REMINDER_PAUSE SECONDS(60)

/* ----- a file ----- */

int staple_refresh_is_file_changed(response_file_t *file, apr_pool_t *ptemp)
{
    response_file_t last = *file;
    apr_finfo_t info;

    memset(&info, 0, sizeof(info));
    if (apr_stat(&info, file->path, APR_FINFO_MTIME | APR_FINFO_CTIME
                                    | APR_FINFO_SIZE | APR_FINFO_INODE,
                 ptemp)) {
        memset(&info, 0, sizeof(info));
    }
    file->is_seen = 1;
    file->mtime = info.mtime;
    file->ctime = info.ctime;
    file->size = info.size;
    file->inode = info.inode;
    return !last.is_seen || file->mtime != last.mtime
           || file->ctime != last.ctime || file->size != last.size
           || file->inode != last.inode;
}

/* Without waiting for a writer, as a FIFO would have it; what was opened is
 * looked at, and not its name, which may be another file's by now. */
static apr_status_t open_regular(apr_file_t **in, apr_finfo_t *info,
                                 const char *path, apr_pool_t *ptemp)
{
    apr_status_t rv = apr_file_open(in, path, APR_READ | APR_BINARY
                                              | APR_FOPEN_NONBLOCK,
                                    APR_OS_DEFAULT, ptemp);

    if (rv) {
        return rv;
    }
    rv = apr_file_info_get(info, APR_FINFO_SIZE | APR_FINFO_TYPE, *in);
    if (!rv && (info->filetype != APR_REG || info->size > FILE_SIZE_MAX)) {
        rv = APR_EGENERAL;
    }
    if (rv) {
        apr_file_close(*in);
    }
    return rv;
}

static apr_status_t read_all(const char *path, char **bytes, apr_size_t *len,
                             apr_pool_t *ptemp)
{
    apr_file_t *in;
    apr_finfo_t info;
    apr_status_t rv = open_regular(&in, &info, path, ptemp);

    if (rv) {
        return rv;
    }
    *len = (apr_size_t)info.size;
    *bytes = apr_palloc(ptemp, *len + 1);
    rv = *len ? apr_file_read_full(in, *bytes, *len, NULL) : APR_SUCCESS;
    apr_file_close(in);
    return rv;
}

int staple_refresh_is_shortage(apr_status_t rv)
{
    return APR_STATUS_IS_EMFILE(rv) || APR_STATUS_IS_ENFILE(rv)
           || APR_STATUS_IS_ENOMEM(rv) || rv == EIO || rv == ESTALE;
}

/* The DER inside PEM; NULL where there is none. */
static const unsigned char *from_pem(const char *bytes, apr_size_t size,
                                     apr_size_t *len, apr_pool_t *ptemp)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)size);
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL, *der = NULL;
    long data_len = 0;

    if (bio && PEM_read_bio(bio, &name, &header, &data, &data_len) == 1
        && !strcmp(name, PEM_NAME) && data_len > 0) {
        *len = (apr_size_t)data_len;
        der = apr_pmemdup(ptemp, data, *len);
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    BIO_free(bio);
    ERR_clear_error();
    return der;
}

apr_status_t staple_refresh_read_file(const char *path,
                                      const unsigned char **der,
                                      apr_size_t *len, const char **reason,
                                      apr_pool_t *ptemp)
{
    char *bytes;
    apr_size_t size;
    char text[120];
    apr_status_t rv = read_all(path, &bytes, &size, ptemp);

    if (rv) {
        *reason = rv == APR_EGENERAL
                  ? "is no regular file of at most 128 KiB"
                  : apr_pstrcat(ptemp, "cannot be read by the "
                                "refresher: ",
                                apr_strerror(rv, text, sizeof(text)), NULL);
        return rv;
    }
    if (size && bytes[0] == 0x30) { /* DER: a SEQUENCE */
        *der = (const unsigned char *)bytes;
        *len = size;
        return APR_SUCCESS;
    }
    *der = from_pem(bytes, size, len, ptemp);
    if (!*der) {
        *reason = "is neither DER nor PEM with an " PEM_NAME;
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}

/* ----- what is done with it ----- */

/* Nothing is left: seldom; otherwise as the end draws near. */
static apr_interval_time_t pause_for(apr_interval_time_t left)
{
    if (left == 0) {
        return REMINDER_PAUSE;
    }
    return left / 4 > FILE_PAUSE ? left / 4 : FILE_PAUSE;
}

/* There is nobody to ask, and what lies in files has nothing newer. */
void staple_refresh_remind(task_t *task, apr_time_t now)
{
    staple_refresh_t *refresh = task->refresh;
    held_t held = staple_refresh_read_held(refresh, task->cert, now);
    alarm_e alarm = staple_refresh_alarm_of(task->cert, &held, now);
    apr_interval_time_t left = staple_refresh_is_valid(&held)
                               ? held.until - now : 0;
    apr_pool_t *p;

    if (!refresh->has_looked && !staple_refresh_are_files_late(refresh)) {
        staple_refresh_set_due(task, now + FILE_PAUSE);
        return;
    }
    apr_pool_create(&p, refresh->pool);
    staple_refresh_log_reminder(refresh->conf.server, task, &held, alarm, p);
    apr_pool_destroy(p);
    if (alarm > task->alarm) {
        task->alarm = alarm;
    }
    staple_refresh_set_due(task, now + pause_for(left));
}

static int uses_file(const staple_cert_t *cert, const char *path)
{
    int i;

    for (i = 0; i < cert->policy->response_files->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(cert->policy->response_files, i,
                                  const char *), path)) {
            return 1;
        }
    }
    return 0;
}

/* Where nobody can be asked, due means that a reminder is: no sooner than the
 * response's own times say. */
static void plan_after_file(task_t *task, const staple_ocsp_verdict_t *verdict,
                            apr_time_t now)
{
    staple_cert_policy_t policy = *task->cert->policy;
    staple_cache_meta_t meta = staple_rules_meta(verdict, now);

    if (!task->cert->urls->nelts) {
        policy.refresh_age = -1;
        policy.revoked_recheck = 0;
    }
    staple_refresh_set_due(task, staple_rules_due(&policy, task->cert->id,
                                                  &meta, -1));
    staple_refresh_count_recovery(task, now);
    if (task->alarm != ALARM_NONE) {
        staple_refresh_log_file_taken(task->refresh->conf.server, task->cert,
                                      verdict);
        task->alarm = ALARM_NONE;
    }
}

staple_ocsp_reason_e staple_refresh_offer(task_t *task,
                                          const unsigned char *der,
                                          apr_size_t len, apr_pool_t *ptemp)
{
    staple_refresh_t *refresh = task->refresh;
    apr_time_t now = apr_time_now();
    staple_ocsp_verdict_t verdict;
    believed_t response;
    held_t held;

    if (!staple_refresh_is_believed(refresh, 0, task->cert, der, len,
                                    &verdict)) {
        return verdict.reason;
    }
    held = staple_refresh_read_held(refresh, task->cert, now);
    response.verdict = &verdict;
    response.der = der;
    response.len = len;
    if (staple_refresh_store_wanted(refresh, task->cert, &held, &response,
                                    ptemp) == STORE_DONE) {
        plan_after_file(task, &verdict, now);
        staple_refresh_set_missing(task, !staple_refresh_is_held(
                                             refresh, task->cert, now));
        staple_refresh_renew_since(refresh, task->cert, now);
    }
    return STAPLE_OCSP_OK;
}

/* Whether a certificate that names the file waits for its issuer, without which
 * nothing can be verified; once it has come, the file is read again. */
static int is_early(const staple_refresh_t *refresh, const char *path)
{
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        const staple_cert_t *cert = refresh->tasks[i].cert;

        if (cert && !cert->subject && uses_file(cert, path)) {
            return 1;
        }
    }
    return 0;
}

/* To every certificate of a virtual host that names the file; the CertID
 * finds the one that is meant. */
static void offer_to_all(staple_refresh_t *refresh, response_file_t *file,
                         const unsigned char *der, apr_size_t len,
                         apr_pool_t *ptemp)
{
    staple_ocsp_reason_e reason = STAPLE_OCSP_OTHER_CERT;
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && task->cert->subject && !task->is_set_aside
            && uses_file(task->cert, file->path)) {
            staple_ocsp_reason_e this_one
                = staple_refresh_offer(task, der, len, ptemp);

            if (this_one != STAPLE_OCSP_OTHER_CERT) {
                reason = this_one;
            }
        }
    }
    if (reason != STAPLE_OCSP_OK && !is_early(refresh, file->path)) {
        staple_refresh_file_log(refresh->conf.server, file,
                                apr_pstrcat(ptemp, "holds a response that ",
                                            staple_ocsp_reason_text(reason),
                                            NULL));
    }
}

static void read_file(staple_refresh_t *refresh, response_file_t *file,
                      apr_pool_t *ptemp)
{
    const unsigned char *der;
    const char *reason;
    apr_size_t len;

    apr_status_t rv = staple_refresh_read_file(file->path, &der, &len, &reason,
                                               ptemp);
    int was_short = file->is_short;

    file->is_short = staple_refresh_is_shortage(rv);
    file->is_seen = !file->is_short; /* then it is read again */
    if (!rv) {
        offer_to_all(refresh, file, der, len, ptemp);
    }
    else if (!was_short || !file->is_short) {
        staple_refresh_file_log(refresh->conf.server, file, reason);
    }
}

void staple_refresh_forget_files(staple_refresh_t *refresh)
{
    int i;

    refresh->files_due = refresh->directory.due = 0;
    refresh->directory.self.is_seen = 0;
    refresh->directory.looked = 0;
    for (i = 0; i < refresh->files->nelts; i++) {
        APR_ARRAY_IDX(refresh->files, i, response_file_t).is_seen = 0;
    }
}

int staple_refresh_are_files_due(const staple_refresh_t *refresh,
                                 apr_time_t now)
{
    return refresh->files->nelts && now >= refresh->files_due;
}

void staple_refresh_look_at_files(staple_refresh_t *refresh, apr_time_t now)
{
    apr_pool_t *p;
    int i;

    if (!staple_refresh_are_files_due(refresh, now)) {
        return;
    }
    refresh->files_due = now + FILE_PAUSE;
    apr_pool_create(&p, refresh->pool);
    for (i = 0; i < refresh->files->nelts; i++) {
        response_file_t *file = &APR_ARRAY_IDX(refresh->files, i,
                                               response_file_t);

        if (staple_refresh_is_file_changed(file, p)) {
            read_file(refresh, file, p);
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

void staple_refresh_add_files(staple_refresh_t *refresh,
                              const staple_cert_t *cert)
{
    int i, k;

    for (i = 0; i < cert->policy->response_files->nelts; i++) {
        const char *path = APR_ARRAY_IDX(cert->policy->response_files, i,
                                         const char *);

        for (k = 0; k < refresh->files->nelts
                    && strcmp(APR_ARRAY_IDX(refresh->files, k,
                                            response_file_t).path, path);
             k++) {
            continue;
        }
        if (k == refresh->files->nelts) {
            response_file_t *file = apr_array_push(refresh->files);

            memset(file, 0, sizeof(*file));
            file->path = path;
        }
    }
}
