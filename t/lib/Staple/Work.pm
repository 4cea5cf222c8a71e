# Licensed under the Apache License, Version 2.0; see LICENSE.

# What every part of the harness stands on: one scratch directory a test, the
# processes it started, and waiting for a condition with a deadline.
#
# The one idea: whatever a test does or however it dies, the END block of the
# process that began it ends every process by its id and removes the directory.
# Environment: STAPLE_KEEP=1 keeps the directory, STAPLE_PATIENCE=10 makes every
# deadline ten times as long, not three times; STAPLE_SRCDIR and STAPLE_BUILDDIR say where
# things are and where they were built.

package Staple::Work;

use strict;
use warnings;

use Cwd qw(abs_path);
use parent 'Exporter';
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX qw(:sys_wait_h setpgid);
use Test::Builder;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(work_dir write_file read_file run spawn stop_process
                    is_running wait_for free_ports build_dir source_dir
                    find_tool tool show_on_failure kill);

my $owner = $$;
my $dir;
my %processes;    # pid => name
my %exit_status;  # pid => $? of those that ended
my @logs;         # [title, path]: shown when a test fails

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

sub source_dir
{
    return abs_path($ENV{STAPLE_SRCDIR} // dirname(__FILE__) . '/../../..');
}

sub build_dir { return abs_path($ENV{STAPLE_BUILDDIR} // source_dir()) }

# The test's directory; readable for the account that httpd's children run as.
sub work_dir
{
    if (!$dir) {
        $dir = abs_path(tempdir('staple-XXXXXXXX', TMPDIR => 1));
        chmod 0755, $dir;
    }
    return $dir;
}

# Write a file, its name relative to the work directory; returns its path.
sub write_file
{
    my ($name, $content) = @_;
    my $path = $name =~ m{^/} ? $name : work_dir() . "/$name";

    make_path(dirname($path));
    open my $f, '>:raw', $path or die "cannot write $path: $!\n";
    print $f $content;
    close $f or die "cannot write $path: $!\n";
    return $path;
}

# The content of a file; the empty string where there is none.
sub read_file
{
    my ($path) = @_;

    open my $f, '<:raw', $path or return '';
    local $/;
    return scalar(<$f>) // '';
}

sub find_tool
{
    my ($name) = @_;

    for my $path (split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin') {
        return "$path/$name" if -x "$path/$name" && !-d _;
    }
    return;
}

# The program behind a name: what configure found (OPENSSL, CURL, GNUTLS_CLI),
# or the one in the path; undef where there is none.
sub tool
{
    my ($name) = @_;

    return $ENV{ uc($name) =~ tr/-/_/r } || find_tool($name);
}

# Run a command to its end, without input. In list context its exit status
# (128 + signal if it was killed) and what it said on both channels.
sub run
{
    my ($name, @args) = @_;
    my @cmd = ($name =~ m{/} ? $name : tool($name) // $name, @args);
    my $pid = open(my $out, '-|') // die "cannot fork: $!\n";

    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        exec { $cmd[0] } @cmd or print "cannot run $cmd[0]: $!\n";
        POSIX::_exit(127);
    }
    binmode $out;
    my $said = do { local $/; <$out> } // '';
    local ($?, $!);
    close $out;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    return wantarray ? ($status, $said) : $status;
}

# Start a process in a group of its own, its output in a file. Options: name,
# cmd (array), env (hash), log (path), stdin (a file handle).
sub spawn
{
    my (%o) = @_;
    my $pid = fork // die "cannot fork: $!\n";

    if (!$pid) {
        setpgid(0, 0);
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        $ENV{$_} = $o{env}{$_} for keys %{ $o{env} // {} };
        if ($o{stdin}) { open STDIN, '<&', $o{stdin} }
        else           { open STDIN, '<', '/dev/null' }
        open STDOUT, '>>', $o{log};
        open STDERR, '>&', \*STDOUT;
        exec { $o{cmd}[0] } @{ $o{cmd} }
            or print STDERR "cannot run $o{cmd}[0]: $!\n";
        POSIX::_exit(127);
    }
    $processes{$pid} = $o{name};
    return $pid;
}

# Perl's kill takes the undefined for 0, which is the whole group of the test:
# the harness, and whoever started it.
sub kill
{
    my ($signal, @pids) = @_;

    die "there is no process to send $signal to\n" if grep { !$_ } @pids;
    return CORE::kill($signal, @pids);
}

# Whether a spawned process goes on; collects it if it does not.
sub is_running
{
    my ($pid) = @_;

    return 0 if !$processes{$pid};
    local $?;
    return 1 if waitpid($pid, WNOHANG) == 0;
    $exit_status{$pid} = $?;
    delete $processes{$pid};
    return 0;
}

# End a spawned process with a signal; with KILL, and its whole group, when
# that takes too long. Returns its $?, or undef where it had to be killed.
sub stop_process
{
    my ($pid, $signal, $seconds) = @_;

    return $exit_status{$pid} if !is_running($pid);
    CORE::kill($signal // 'TERM', $pid);
    return $exit_status{$pid}
        if wait_for(sub { !is_running($pid) }, $seconds // 10);
    my $name = $processes{$pid};
    Test::Builder->new->diag("$name ($pid) does not end: killed");
    CORE::kill('KILL', -$pid);
    CORE::kill('KILL', $pid);
    wait_for(sub { !is_running($pid) }, 5);
    return;
}

# Wait until the condition holds; returns its value, or what it last was.
sub wait_for
{
    my ($condition, $seconds) = @_;
    my $end = time + ($seconds // 10) * ($ENV{STAPLE_PATIENCE} || 3);
    my $value;

    while (!($value = $condition->()) && time < $end) {
        sleep 0.02;
    }
    return $value;
}

# Ports of the loopback that were free a moment ago.
sub free_ports
{
    my ($count) = @_;
    my @sockets = map {
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                              Listen => 1) // die "no free port: $!\n"
    } 1 .. $count;

    return map { $_->sockport } @sockets;
}

sub show_on_failure
{
    my ($title, $path) = @_;

    push @logs, [$title, $path];
}

sub _show_logs
{
    my $tap = Test::Builder->new;

    for (@logs) {
        my ($title, $path) = @$_;
        my @lines = split /\n/, read_file($path);

        splice @lines, 0, @lines - 80, '...' if @lines > 80;
        $tap->diag(join("\n", "--- $title ---", @lines));
    }
}

END {
    if ($$ == $owner) {
        local $?;
        $SIG{PIPE} = 'IGNORE';    # whoever reads us may have gone
        $SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
        stop_process($_, 'TERM', 5) for keys %processes;
    }
    if ($$ == $owner && $dir) {
        my $status = $?;

        _show_logs() if $status || !Test::Builder->new->is_passing;
        if ($ENV{STAPLE_KEEP}) {
            Test::Builder->new->diag("kept: $dir");
        }
        else {
            chdir '/';
            remove_tree($dir);
        }
        $? = $status;
    }
}

1;
