# Licensed under the Apache License, Version 2.0; see LICENSE.

# Restarts under load lose no staple: graceful ones lose no handshake either;
# hard ones and a stop and start turn visitors away, but whoever gets in sees a
# true staple. The responder is silent all the while. Afterwards the parent
# holds what it held before, no file is left behind, and the children of old
# generations are gone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = map { "$_.test" } 'a' .. 'e';
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;
# With the sanitizers a start takes long.
my %loops = $ENV{STAPLE_PRELOAD} ? (event => 4, worker => 2, prefork => 2)
                                 : (event => 12, worker => 5, prefork => 5);

sub files
{
    my ($httpd) = @_;

    return join ' ', map { s{.*/}{}r } sort glob $httpd->dir . '/{logs,run}/*';
}

# Restart so often, with visitors about; what they saw but for `good`.
sub visited
{
    my ($httpd, $how, $times) = @_;
    my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names);
    my $came = $visitors->wait_for_more(5);

    for (1 .. $times) {
        if ($how eq 'stop and start') {
            $httpd->stop;
            $httpd->start;
        }
        else {
            $httpd->$how;
        }
        $came &&= $visitors->wait_for_more(8);
    }
    ok($came, "$httpd->{mpm}: $how: visitors came throughout");
    return $visitors->stop->odd;
}

# Inodes of the memory that a process shares with others.
sub memory_of
{
    my ($pid) = @_;
    my $maps = read_file("/proc/$pid/maps");

    return map { $_ => 1 } $maps =~ m{ (\d+) +/memfd:staple}g;
}

# What the parent holds once what ends has ended: two looks agree.
sub settled
{
    my ($httpd) = @_;
    my $last = '';

    wait_for(sub {
        my $now = join ' ', map { @$_ } values %{ $httpd->holdings };
        my $is_same = $now eq $last;

        $last = $now;
        return $is_same;
    });
    return $httpd->holdings;
}

for my $mpm (qw(event worker prefork)) {
    SKIP: {
        skip "no mpm_$mpm here" if !has_httpd_module("mpm_$mpm");
        my $httpd = Staple::Httpd->new(
            mpm => $mpm, conf => stapling(),
            vhosts => [map { { cert => $_ } } @leaves]);

        $responder->good;
        $httpd->start;
        wait_for_staple($httpd, 'good', name => $_) for @names;
        $responder->tell('hang-before');
        $responder->tell('reset-counters');

        # What httpd itself takes the first time, it takes.
        $httpd->graceful for 1 .. 2;
        my ($before, $files) = (settled($httpd), files($httpd));

        my @odd = visited($httpd, 'graceful', $loops{$mpm});
        ok(!@odd, "$mpm: graceful restarts lose nothing")
            or diag(join "\n", @odd);
        $httpd->log_ok;
        my @lost = grep { !/failed: / } visited($httpd, 'restart', 3);
        ok(!@lost, "$mpm: hard restarts lose no staple")
            or diag(join "\n", @lost);

        my $after = settled($httpd);
        is_deeply($after->{fds}, $before->{fds},
                  "$mpm: the parent has the descriptors it had");
        is_deeply([grep { m{/} } @{ $after->{maps} }],
                  [grep { m{/} } @{ $before->{maps} }],
                  "$mpm: and the files mapped that it had");
        ok(!grep({ /stapling_cache/ } @{ $after->{maps} }),
           "$mpm: and nobody maps the file of the ring");
        is(files($httpd), $files, "$mpm: no file was left behind");
        # Every child has the memory of today.
        my %today = memory_of($httpd->{pid});
        ok(%today && wait_for(sub {
            !grep { my %has = memory_of($_); grep { !$today{$_} } keys %has }
                $httpd->children;
        }), "$mpm: old generations are gone");

        @lost = grep { !/failed: / } visited($httpd, 'stop and start', 2);
        ok(!@lost, "$mpm: a stop and start loses no staple")
            or diag(join "\n", @lost);
        is($responder->count, 0, "$mpm: and nobody was asked");
        ok($httpd->stop, "$mpm: httpd stops in good order");
        # A hard restart is rude to children that are slow to end.
        $httpd->log_ok(qr/AH00045|AH00046/, $httpd->cut_off);
    }
}

done_testing;
