/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Responses in a directory (StapleResponseDirectory): for certificates that are
 * in service, or will be after the next restart, so that whoever renews a
 * certificate can leave its first response there.
 *
 * The one idea: what is in there is an offer. What is for no certificate of
 * ours, or no better than what is held, is passed over without a word; what
 * is of use is judged and stored like any other response.
 *
 * A file is put there by a rename, which changes the time of the directory, so
 * one look at that says whether there is something new; and what was put there
 * has a ctime by the same clock, which says what it is.
 */

#include "refresh_int.h"

#include <string.h>

#include <apr_file_info.h>
#include <apr_strings.h>

/* How its files are called: as `staplectl fetch` calls them. */
#define SUFFIX ".ocsp"

/* How often the directory is looked at. */
#define LOOK_PAUSE SECONDS(1)

/* Clocks of file systems tick more slowly than things happen: what changed less
 * than this ago may have changed again at the same moment. */
#define TICK SECONDS(3)

/* ----- a file ----- */

static void offer_to_all(staple_refresh_t *refresh, const unsigned char *der,
                         apr_size_t len, apr_pool_t *ptemp)
{
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && task->cert->subject && !task->is_set_aside
            && staple_ocsp_may_be_about(task->cert->subject, der, len)) {
            staple_refresh_offer(task, der, len, ptemp);
        }
    }
}

static void take_file(staple_refresh_t *refresh, const char *path,
                      apr_pool_t *ptemp)
{
    const unsigned char *der;
    const char *reason;
    apr_size_t len;

    if (staple_refresh_read_file(path, &der, &len, &reason, ptemp)) {
        staple_refresh_log_not_read(refresh->conf.server, path, reason);
        return;
    }
    offer_to_all(refresh, der, len, ptemp);
}

/* ----- the directory ----- */

static int is_wanted(const apr_finfo_t *info, apr_time_t since)
{
    apr_size_t len = strlen(info->name), suffix = strlen(SUFFIX);

    return len > suffix && !strcmp(info->name + len - suffix, SUFFIX)
           && info->ctime >= since;
}

/* All that came since then; 0: all that is there. */
static void take_files(staple_refresh_t *refresh, apr_time_t since,
                       apr_pool_t *ptemp)
{
    const char *directory = refresh->directory.path;
    apr_pool_t *p_file;
    apr_dir_t *dir;
    apr_finfo_t info;

    if (apr_dir_open(&dir, directory, ptemp)) {
        staple_refresh_log_not_read(refresh->conf.server, directory,
                                    "cannot be read as a directory");
        return;
    }
    apr_pool_create(&p_file, ptemp);
    while (!refresh->conf.is_ending(refresh->conf.baton)
           && !apr_dir_read(&info, APR_FINFO_NAME | APR_FINFO_CTIME, dir)) {
        if (is_wanted(&info, since)) {
            take_file(refresh, apr_pstrcat(p_file, directory, "/", info.name,
                                           NULL), p_file);
            apr_pool_clear(p_file);
        }
        refresh->conf.beat(refresh->conf.baton);
    }
    apr_dir_close(dir);
}

void staple_refresh_look_at_directory(staple_refresh_t *refresh,
                                      apr_time_t now)
{
    response_file_t last = refresh->directory;
    apr_pool_t *p;

    if (!last.path || now < refresh->directory_due) {
        return;
    }
    refresh->directory_due = now + LOOK_PAUSE;
    apr_pool_create(&p, refresh->pool);
    if (staple_refresh_is_file_changed(&refresh->directory, p)
        || now - last.mtime < TICK) {
        take_files(refresh,
                   last.inode == refresh->directory.inode ? last.mtime : 0, p);
    }
    apr_pool_destroy(p);
}
