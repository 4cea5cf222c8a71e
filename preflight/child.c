/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: work for a child without privileges.
 *
 * The one idea: `httpd -t` runs as root, and root does nothing for strangers:
 * it looks up no name that a customer's certificate has, and parses nothing
 * from the network. So that is done by a child that becomes what httpd's
 * children are, reads its ids back, and refuses where it is root still.
 */

#include "preflight_int.h"

#include <stdio.h>
#include <unistd.h>

#include <apr_signal.h>
#include <apr_thread_proc.h>

#include "staple_process.h"

/* The child's exit status says how many things need attention, up to this. */
#define STATUS_MAX 100
#define STATUS_BROKEN 101

/* Ends the child, without the cleanups that belong to the parent. */
static void run_child(server_rec *s, staple_preflight_work_fn *work,
                      void *baton, apr_pool_t *p)
{
    const char *wrong = staple_process_drop_privileges(s, p);
    int troubles = 1;

    apr_signal(SIGPIPE, SIG_IGN);
    if (wrong) {
        printf("  !!           not done as root, and the privileges of root "
               "cannot be given up: %s\n", wrong);
    }
    else {
        troubles = work(baton, p);
    }
    fflush(stdout);
    _exit(troubles < STATUS_MAX ? troubles : STATUS_MAX);
}

int staple_preflight_in_child(server_rec *s, staple_preflight_work_fn *work,
                              void *baton, apr_pool_t *p)
{
    int status = STATUS_BROKEN;
    apr_exit_why_e why;
    apr_proc_t child;
    apr_status_t rv;

    fflush(stdout);
    rv = apr_proc_fork(&child, p);
    if (rv == APR_INCHILD) {
        run_child(s, work, baton, p);
    }
    if (rv != APR_INPARENT
        || apr_proc_wait(&child, &status, &why, APR_WAIT) != APR_CHILD_DONE
        || why != APR_PROC_EXIT || status == STATUS_BROKEN) {
        printf("  !!           it could not be done\n");
        return 1;
    }
    return status;
}
