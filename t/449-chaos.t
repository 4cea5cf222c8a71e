# Licensed under the Apache License, Version 2.0; see LICENSE.

# Chaos for a while: children killed, servers restarted in every way, crashed
# and started, the ring's file deleted, certificates coming and going, the
# responder lying in all the ways it knows. Each handshake is checked: whole,
# verified, current staples or none, and none missing that should be there.
#
# STAPLE_CHAOS is for how many seconds with each MPM (6), STAPLE_CHAOS_SEED
# repeats the order of events, STAPLE_CHAOS_MPM chooses one MPM.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Staple::Work qw(build_dir);
use Time::HiRes qw(sleep time);

my $seconds = $ENV{STAPLE_CHAOS} || 6;
my $seed = $ENV{STAPLE_CHAOS_SEED} || $$ ^ time;
my @mpms = grep { has_httpd_module("mpm_$_") }
    $ENV{STAPLE_CHAOS_MPM} || qw(event worker prefork itk);

srand $seed;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @steady = map { "steady$_.test" } 1 .. 5;    # always there, once fetched
my @fickle = map { "fickle$_.test" } 1 .. 3;    # renewed, removed, added
my ($httpd, %leaf);

sub leaf { return $ca->leaf(name => $_[0], ocsp => $responder->url) }

sub configure
{
    $httpd->{vhosts} = [map { { cert => $leaf{$_} } } sort keys %leaf];
    $httpd->write_conf;
}

sub any { return $_[rand @_] }

# Whether the ring's file has a response for each of these.
sub is_in_file
{
    my ($exit, $out) = run(build_dir() . '/t/tools/ringdump',
                           $httpd->dir . '/logs/stapling_cache');

    return @_ == grep { $out =~ /^ +\Q$_\E.*\n +served: \d/m } @_;
}

sub await
{
    # A restart that meets children being killed may have to be asked twice.
    my ($how) = @_;

    eval { $httpd->$how; 1 } or die "$how: $@";
}

# Events, by weight: how often, name, what happens.
my @events = (
    [6, 'a child is killed' => sub {
        kill 'KILL', any($httpd->children, 0) || return;
    }],
    [4, 'the refresher is killed' => sub {
        kill 'KILL', $httpd->refresher || return;
    }],
    [8, 'the responder lies' => sub {
        $responder->only(any(Staple::Responder->faults));
    }],
    [4, 'the responder is well' => sub { $responder->good }],
    [6, 'graceful' => sub { await('graceful') }],
    [2, 'restart' => sub { await('restart') }],
    [1, 'stop and start' => sub { $httpd->stop; $httpd->start }],
    [1, 'crash and start' => sub {
        # What was fetched a moment ago is in no file yet (docs/ring.md).
        wait_for(sub { is_in_file(@steady) || !$httpd->is_alive });
        my @all = ($httpd->pid, $httpd->refresher // (), $httpd->children);

        kill 'KILL', @all;
        wait_for(sub { !$httpd->is_alive && !grep { kill 0, $_ } @all });
        unlink $httpd->dir . '/run/httpd.pid';
        $httpd->start;
    }],
    [1, 'the file is deleted, graceful' => sub {
        unlink $httpd->dir . '/logs/stapling_cache';
        await('graceful');
    }],
    [3, 'certificates change, graceful' => sub {
        my $name = any(@fickle);

        $leaf{$name} = leaf($name);
        $name = any(@fickle);
        delete $leaf{$name};
        configure();
        await('graceful');
    }],
    [2, 'a process is frozen a moment' => sub {
        my $pid = any($httpd->children, $httpd->refresher // 0) || return;

        kill 'STOP', $pid;
        sleep 0.2;
        kill 'CONT', $pid;
    }],
);
my @bag = map { my $event = $_; ($event) x $event->[0] } @events;

# Let things happen; returns how often each did, and a journal.
sub happen
{
    my $end = time + $seconds;
    my (%happened, @journal);

    while (time < $end) {
        my (undef, $name, $event) = @{ any(@bag) };

        push @journal, sprintf '%.3f %s', time, $name;
        $event->();
        $happened{$name}++;
        sleep rand 0.3;
    }
    return (\%happened, \@journal);
}

# What visitors met. Without SNI's certificate one meets the first host, and
# fails for the name; that one has no say here.
sub judge
{
    my ($mpm, $visits, $happened, $journal) = @_;
    my @let_in = grep { $_->{verdict} !~ /^failed/ } @$visits;
    my @false = grep { $_->{verdict} =~ /^bad|revoked|unknown/ } @let_in;
    my @missed = grep { $_->{verdict} eq 'none' && $_->{name} =~ /steady/ }
        @let_in;

    ok(scalar @let_in, "$mpm: visitors were let in");
    is(scalar @false, 0, "$mpm: no staple was false");
    is(scalar @missed, 0, "$mpm: and none was missing");
    diag("$mpm, seed $seed: ", scalar @$visits, ' visits, ', scalar @let_in,
         ' let in; ',
         join ', ', map { "$happened->{$_} x $_" } sort keys %$happened);
    diag(join "\n", 'seen:',
         (map { join ' ', @$_{qw(time name serial verdict)} } @false, @missed),
         'done:', @$journal)
        if @false || @missed;
    return;
}

sub rage
{
    my ($mpm) = @_;

    %leaf = map { $_ => leaf($_) } @steady, @fickle;
    my $is_itk = $mpm eq 'itk';    # which goes on top of prefork
    $httpd = Staple::Httpd->new(
        mpm => $is_itk ? 'prefork' : $mpm,
        modules => $is_itk ? ['mpm_itk'] : [],
        conf => stapling('SSLStaplingStandardCacheTimeout 1',
                         'SSLStaplingErrorCacheTimeout 2',
                         'SSLStaplingResponderTimeout 1',
                         $is_itk ? ('LimitUIDRange 0 65535',
                                    'LimitGIDRange 0 65535') : ()));
    configure();
    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @steady, @fickle;
    my $visitors = Staple::Visitors->new($ca, [$httpd], rate => 60,
                                         names => [@steady, @fickle]);
    my ($happened, $journal) = happen();
    ok($httpd->is_alive, "$mpm: the server lives");
    $responder->good;
    judge($mpm, [$visitors->stop->visits], $happened, $journal);

    is(wait_for_staple($httpd, 'good', name => $_, seconds => 20)->{staple},
       'good', "$mpm: $_ in the end")
        for grep { $leaf{$_} } @steady, @fickle;
    ok($httpd->stop, "$mpm: httpd stops in good order");
    # What was done to it, and what the responder did, may be told; a crash of
    # ours not.
    $httpd->log_ok($httpd->cut_off, qr/exit signal Killed/, qr/STP0[23]\d\d/,
                   qr/STP0120/, qr/AH0004[56]/, qr/AH10392/, qr/\[ssl:/,
                   qr/AH00098/);
    return;
}

rage($_) for @mpms;

done_testing;
