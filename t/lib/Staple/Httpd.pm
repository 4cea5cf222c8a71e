# Licensed under the Apache License, Version 2.0; see LICENSE.

# A real httpd from a few lines of configuration, in a ServerRoot of its own.
#
#   my $httpd = Staple::Httpd->new(
#       conf   => stapling('SSLStaplingResponderTimeout 2'),
#       vhosts => [ { cert => $leaf }, { cert => $other, conf => '...' } ]);
#   $httpd->start;
#   ...
#   $httpd->log_ok(qr/AH01234/);
#
# Options: mpm (event), staple (1; 0: without the module), modules (names,
# beyond what TLS needs), conf (lines of the main server), vhosts (a hash
# each: cert or certs, name, port, conf), ports (how many; the text {port},
# {port2} ... stands for them, {dir} for the ServerRoot), log_level, server
# (lines that replace the sizing of the MPM), as (where the test runs as root:
# the account to start it as), names (a Staple::Names that it resolves by),
# preload (libraries for LD_PRELOAD, behind the sanitizers'), env (a hash),
# program (what to run in httpd's place, with its arguments), patience (30: the
# seconds that a start or a restart may take).
#
# The error log is part of the result: log_ok fails on any line of level warn
# or above that was not expected, on anything that is no log line (a
# sanitizer's report), and on a child that died by a signal.
#
# Environment: HTTPD, HTTPD_MODULES and APXS choose the server and its modules,
# STAPLE_MODULE ours; STAPLE_PRELOAD is LD_PRELOAD for the server alone (the
# sanitizers' runtime).

package Staple::Httpd;

use strict;
use warnings;

use parent 'Exporter';
use File::Path qw(make_path);
use IO::Socket::INET;
use Test::Builder;

use Staple::Work qw(work_dir build_dir read_file write_file run spawn kill
                    stop_process is_running wait_for free_ports find_tool
                    show_on_failure);

our @EXPORT = qw(stapling has_httpd_module start_all);

my $made = 0;
my %installed;    # program, libexecdir and static modules, asked once

sub _apxs
{
    my ($what) = @_;
    my ($apxs) = grep { defined } $ENV{APXS}, find_tool('apxs'),
                                  find_tool('apxs2');
    return if !$apxs;
    my ($exit, $out) = run($apxs, '-q', $what);

    chomp $out;
    return $exit ? undef : $out;
}

sub _installed
{
    return \%installed if %installed;
    my $sbin = _apxs('sbindir');
    my $name = _apxs('progname');
    my ($program) = grep { defined && -x }
        $ENV{HTTPD}, defined $sbin && defined $name ? "$sbin/$name" : undef,
        find_tool('apache2'), find_tool('httpd');
    my ($dir) = grep { defined && -d }
        $ENV{HTTPD_MODULES}, _apxs('libexecdir'), '/usr/lib/apache2/modules',
        '/usr/lib64/httpd/modules';

    die "no httpd found; set HTTPD\n" if !$program;
    my (undef, $list) = run($program, '-l');
    %installed = (
        program => $program, dir => $dir,
        static => { map { $_ => 1 } $list =~ /^\s*(?:mod_)?(\w+)\.c$/mg });
    return \%installed;
}

# The server under test.
sub program { return _installed()->{program} }

# The file of a module, e.g. 'md'; 'mpm_itk' has no mod_ in its name.
sub _file
{
    my ($name) = @_;
    my $dir = _installed()->{dir};
    my ($file) = grep { -e } map { "$dir/$_$name.so" } 'mod_', '';

    return $file // "$dir/mod_$name.so";
}

# Whether a module of httpd is there.
sub has_httpd_module
{
    my ($name) = @_;

    return _installed()->{static}{$name} || -e _file($name);
}

# The two lines that people copy from the guides, and more if given.
sub stapling
{
    my (@more) = @_;

    return join '', map { "$_\n" } 'SSLUseStapling on',
        'SSLStaplingCache "shmcb:logs/stapling_cache(128000)"', @more;
}

# The account for the server's children where the test runs as root.
sub account
{
    for my $name (qw(www-data apache nobody daemon)) {
        my (undef, undef, $uid, $gid) = getpwnam $name;
        return ($name, scalar getgrgid $gid) if $uid;
    }
    die "no account for httpd's children\n";
}

sub new
{
    my ($class, %o) = @_;
    my $number = ++$made;
    my $self = bless {
        mpm => 'event', staple => 1, modules => [], conf => '', vhosts => [],
        ports => 1, args => ['-DFOREGROUND'], patience => 30, number => $number,
        dir => work_dir() . "/httpd$number",
        %o,
    }, $class;

    make_path(map { "$self->{dir}/$_" } qw(conf logs run htdocs));
    write_file("$self->{dir}/htdocs/index.html", "hello\n");
    $self->{error_log} = "$self->{dir}/logs/error_log";
    $self->{output} = "$self->{dir}/output";
    $self->{log_seen} = 0;
    $self->{output_seen} = 0;
    show_on_failure("httpd $number: output", $self->{output});
    show_on_failure("httpd $number: error log", $self->{error_log});
    run('chown', '-R', $self->{as}, $self->{dir}) if $self->{as};
    $self->_pick_ports;
    $self->write_conf;
    return $self;
}

sub port { return $_[0]{port}[($_[1] // 1) - 1] }

sub dir { return $_[0]{dir} }

# ----- Configuration -----

sub _pick_ports
{
    my ($self) = @_;

    $self->{port} = [free_ports($self->{ports})];
}

sub _load
{
    my ($name, $file) = @_;
    my $at = _installed();

    return '' if $at->{static}{ $name =~ s/^mpm_//r };
    $file //= _file($name);
    die "no $file\n" if !-e $file;
    return "LoadModule ${name}_module $file\n";
}

sub _module_path
{
    return $ENV{STAPLE_MODULE} // build_dir() . '/.libs/mod_staple.so';
}

sub _sizing
{
    my ($self) = @_;

    return $self->{server} if defined $self->{server};
    return "StartServers 2\nMinSpareServers 1\nMaxSpareServers 4\n"
        . "MaxRequestWorkers 16\n" if $self->{mpm} eq 'prefork';
    return "StartServers 2\nThreadsPerChild 8\nMinSpareThreads 8\n"
        . "MaxSpareThreads 32\nMaxRequestWorkers 32\n";
}

sub _vhost
{
    my ($self, $v) = @_;
    my @certs = @{ $v->{certs} // [$v->{cert} // ()] };
    my $name = $v->{name} // $certs[0]{name};
    my $port = $v->{port} // '{port}';

    return "<VirtualHost *:$port>\nServerName $name\n"
        . (@certs ? "SSLEngine on\n" : '') . join('', map { $_->{conf} } @certs)
        . ($v->{conf} // '') . "\n</VirtualHost>\n";
}

# Write the configuration; called again after conf or vhosts were changed.
sub write_conf
{
    my ($self) = @_;
    my $text = join '', map { _load($_) } "mpm_$self->{mpm}", 'unixd',
        'authz_core', 'socache_shmcb', 'ssl', @{ $self->{modules} };

    $text .= _load('staple', _module_path()) if $self->{staple};
    $text .= "ServerRoot {dir}\nDefaultRuntimeDir {dir}/run\n"
        . "PidFile {dir}/run/httpd.pid\nErrorLog {dir}/logs/error_log\n"
        . 'LogLevel ' . ($self->{log_level}
                         // ($self->{staple} ? 'info staple:debug' : 'info'))
        . "\nSSLSessionCache shmcb:{dir}/run/sessions(65536)\n"
        . "ServerName main.test\nDocumentRoot {dir}/htdocs\n"
        . join('', map { "Listen 127.0.0.1:$_\n" } @{ $self->{port} });
    $text .= sprintf "User %s\nGroup %s\n", account()
        if $> == 0 && !$self->{as};
    $text .= $self->_sizing . "$self->{conf}\n"
        . join '', map { $self->_vhost($_) } @{ $self->{vhosts} };
    $text =~ s/\{dir\}/$self->{dir}/g;
    $text =~ s/\{port(\d*)\}/$self->{port}[($1 || 1) - 1]/g;
    write_file("$self->{dir}/conf/httpd.conf", $text);
}

sub _command
{
    my ($self, @args) = @_;

    return ($self->{as} ? ('setpriv', '--reuid', $self->{as}, '--regid',
                           (getpwnam $self->{as})[3], '--clear-groups') : (),
            $self->{program} // program(), '-d', $self->{dir}, '-f',
            "$self->{dir}/conf/httpd.conf", @args);
}

# The environment of the server alone; nothing that would change a build with
# sanitizers is hidden from it.
sub _env
{
    my ($self) = @_;
    my @preload = grep { defined && length } $ENV{STAPLE_PRELOAD},
        $self->{names} ? $self->{names}->library : (),
        @{ $self->{preload} // [] };

    return { TZ => 'UTC',
             @preload ? (LD_PRELOAD => join ':', @preload) : (),
             $self->{names} ? $self->{names}->env : (),
             %{ $self->{env} // {} } };
}

# httpd -t: exit status and what it said. Arguments are added, e.g. '-D', 'X'.
sub configtest
{
    my ($self, @args) = @_;
    local %ENV = (%ENV, %{ $self->_env });

    return run($self->_command('-t', @args));
}

# ----- Life -----

sub _is_up
{
    my ($self) = @_;

    return !grep {
        !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_,
                               Timeout => 1)
    } @{ $self->{port} };
}

sub _generations
{
    my ($self) = @_;

    return () = read_file($self->{error_log}) =~ /resuming normal operations/g;
}

# Start it, and do not wait: await_start does.
sub launch
{
    my ($self) = @_;

    $self->{before} = $self->_generations;
    $self->{pid} = spawn(
        name => "httpd $self->{number}", log => $self->{output},
        env => $self->_env, cmd => [$self->_command(@{ $self->{args} })]);
}

# Whether it has come up after all.
sub await_start
{
    my ($self) = @_;

    wait_for(sub { !is_running($self->{pid})
                   || $self->_generations > $self->{before} && $self->_is_up },
             $self->{patience});
    return $self->{was_up} = 1 if is_running($self->{pid});
    return 0;
}

# Start it and wait until it listens. Dies, with the logs, if it does not.
# Another server may have taken a port meanwhile: tries again with new ones
# unless the ports were used before.
sub start
{
    my ($self) = @_;

    for my $try (1 .. 5) {
        $self->launch;
        return $self if $self->await_start;
        last if $self->{was_up}
            || read_file($self->{output}) !~ /Address already in use/;
        $self->_pick_ports;
        $self->write_conf;
        write_file($_, '') for $self->{output}, $self->{error_log};
    }
    die "httpd did not start\n";
}

# Start several at the same moment.
sub start_all
{
    my (@servers) = @_;

    $_->launch for @servers;
    $_->await_start || $_->start for @servers;
}

# Start it and expect it to give up; returns what it said and logged.
sub start_fails
{
    my ($self) = @_;

    $self->{pid} = spawn(
        name => "httpd $self->{number}", log => $self->{output},
        env => $self->_env, cmd => [$self->_command(@{ $self->{args} })]);
    my $ended = wait_for(sub { !is_running($self->{pid}) }, 20);
    $self->stop if !$ended;
    return $ended
        ? read_file($self->{output}) . read_file($self->{error_log}) : undef;
}

sub is_alive { return $_[0]{pid} && is_running($_[0]{pid}) }

# Signal it and wait until a new generation is in service.
sub _renew
{
    my ($self, $signal) = @_;
    my $before = $self->_generations;

    kill $signal, $self->{pid};
    wait_for(sub { !is_running($self->{pid}) || $self->_generations > $before },
             $self->{patience});
    die "httpd did not restart\n"
        if !is_running($self->{pid}) || $self->_generations <= $before;
    return $self;
}

sub graceful { return $_[0]->_renew('USR1') }

sub restart { return $_[0]->_renew('HUP') }

sub pid { return $_[0]{pid} }

# The ids of all processes whose parent it is; none where the system does not
# tell.
sub _offspring
{
    my ($self) = @_;
    my $pid = $self->{pid};

    return split ' ', read_file("/proc/$pid/task/$pid/children");
}

# Whether it has ended, and nobody has collected it.
sub is_zombie
{
    my ($pid) = @_;

    return read_file("/proc/$pid/stat") =~ /\) Z /;
}

sub _is_refresher
{
    my ($pid) = @_;

    return read_file("/proc/$pid/comm") eq "staple-refresh\n";
}

# The process that makes the ring's file, for as long as that takes.
sub _is_helper
{
    my ($pid) = @_;

    return read_file("/proc/$pid/comm") eq "staple-file\n";
}

# The ids of its children, those that serve visitors.
sub children
{
    my ($self) = @_;

    return grep { !_is_refresher($_) && !_is_helper($_) } $self->_offspring;
}

# The process that refreshes, or nothing; another one than this, which may still
# wait for a disk after it was killed.
sub refresher
{
    my ($self, $other) = @_;
    my ($pid) = grep { _is_refresher($_) && !is_zombie($_)
                       && $_ != ($other // 0) } $self->_offspring;

    return $pid;
}

# Wait until a process refreshes, and another one than this; undef: none does.
sub wait_for_refresher
{
    my ($self, $other, $seconds) = @_;
    my $pid;

    return wait_for(sub { $pid = $self->refresher($other) }, $seconds) ? $pid
                                                                       : undef;
}

# What the parent holds: the targets of its descriptors and the names of its
# mappings, both sorted; numbers that differ from run to run are left out.
sub holdings
{
    my ($self) = @_;
    my $proc = "/proc/$self->{pid}";
    my @fds = map { readlink } glob "$proc/fd/*";
    my @maps = grep { m{^/|^\[anon} }
        map { (split ' ', $_, 6)[5] // '[anonymous]' }
        split /\n/, read_file("$proc/maps");

    s/:\[\d+\]$// for grep { defined } @fds;
    return { fds => [sort grep { defined } @fds], maps => [sort @maps] };
}

# States of a connection in /proc/net/tcp.
my $TIME_WAIT = '06';
my $LISTEN = '0A';

# Whether a client is connected, or was a moment ago.
sub _has_visitors
{
    my ($self) = @_;
    my %ours = map { sprintf('%04X', $_) => 1 } @{ $self->{port} };

    for my $line (map { split /\n/, read_file($_) }
                  grep { -r } qw(/proc/net/tcp /proc/net/tcp6)) {
        my ($port, $state) =
            $line =~ /^\s*\d+: \w+:(\w{4}) \w+:\w{4} (\w\w)/ or next;
        return 1 if $ours{$port} && $state ne $LISTEN && $state ne $TIME_WAIT;
    }
    return 0;
}

# For log_ok, where a server was stopped or restarted hard under load. httpd has
# races of its own there (all seen in 2.4.71, without this module too): event's
# and worker's close_worker_sockets() looks at connections that a thread is
# just freeing, and prefork frees everything in its signal handler, in the
# middle of whatever was going on.
sub cut_off
{
    return qr/AH0005[0-2]: child pid \d+ exit signal (?:Segm|Abort)/;
}

# Stop it and wait for its end; returns whether that was an orderly one. The
# clients of a test are gone by then, but httpd may still be closing their
# connections, so wait a moment for that (see cut_off).
sub stop
{
    my ($self) = @_;

    wait_for(sub { !$self->_has_visitors }, 2);
    my $status = stop_process($self->{pid}, 'TERM', 20);

    return defined $status && $status == 0;
}

# ----- The error log -----

sub error_log { return read_file($_[0]{error_log}) }

# Whether the error log has such a line, waiting for it.
sub wait_for_log
{
    my ($self, $pattern, $seconds) = @_;

    return wait_for(sub { $self->error_log =~ $pattern }, $seconds);
}

# The lines of our own module at the given levels, e.g. qw(notice info).
sub staple_lines
{
    my ($self, @levels) = @_;
    my $levels = join '|', @levels;

    return grep { /\[staple:(?:$levels)\]/ } split /\n/, $self->error_log;
}

# What a distribution's own packages have to say about each other: mod_ssl was
# built with a newer OpenSSL than the one installed.
my $of_the_system = qr/AH01882:/;

sub _is_alarming
{
    my ($line) = @_;

    return 0 if $line !~ /\S/ || $line =~ $of_the_system;
    return 1 if $line =~ /exit signal/;
    return $1 =~ /^(?:emerg|alert|crit|error|warn)$/
        if $line =~ /^\[[^\]]+\] \[\w*:(\w+)\]/;
    return 1;
}

# Every line of the error log that alarms.
sub alarms
{
    my ($self) = @_;

    return grep { _is_alarming($_) } split /\n/, $self->error_log;
}

# A child of a build with sanitizers looks for leaks before it ends, which may
# take longer than the three seconds that httpd waits.
my @slow = $ENV{STAPLE_PRELOAD} ? qr/AH00045: child process \d+ still did not/
                                : ();

# One that counts lines (--enable-coverage) may not write its counts wherever the
# server may not write.
my @counting = qr/^profiling:/;

# One test: nothing in the error log, since the last call, that alarms, but
# for what matches one of the patterns.
sub log_ok
{
    my ($self, @allowed) = @_;
    my $log = $self->error_log;
    my $said = read_file($self->{output});
    my @bad;

    for my $line (split(/\n/, substr $log, $self->{log_seen}),
                  split(/\n/, substr $said, $self->{output_seen})) {
        next if !_is_alarming($line) || grep { $line =~ $_ }
            @allowed, @slow, @counting;
        push @bad, $line;
    }
    $self->{log_seen} = length $log;
    $self->{output_seen} = length $said;
    my $tap = Test::Builder->new;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $tap->ok(!@bad, 'error log: nothing unexpected')
        or $tap->diag(join "\n", 'unexpected:', @bad);
    return !@bad;
}

1;
