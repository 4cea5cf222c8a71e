# Licensed under the Apache License, Version 2.0; see LICENSE.

# A child that was taken over, and writes into the memory that children may write:
# that every response be dropped, the last of a must-staple certificate too, again
# and again. Nobody hears that unless StapleStatusActions is on; then staples go,
# but the refresher goes on. Numbers there may be anything.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

use POSIX ();

plan(skip_all => 'only root may write into another process') if $> != 0;
plan(skip_all => 'a runtime of sanitizers shares memory of its own')
    if $ENV{STAPLE_PRELOAD};

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = ($ca->leaf(name => 'one.test', ocsp => $responder->url),
              $ca->leaf(name => 'must.test', ocsp => $responder->url,
                        must_staple => 1));
my ($forget, $force, $all) = (2, 4, 8);
my $requests = 8;
my $counts_at = 128;    # staple_cache_counters_t

sub server
{
    my (@conf) = @_;
    my $httpd = Staple::Httpd->new(
        ports => 2, conf => stapling(status_conf(), @conf),
        vhosts => [map { { cert => $_ } } @leaves]);

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_->{name}) for @leaves;
    return $httpd;
}

# Where the counters lie in a child: the shared memory in which, after so many
# handshakes, the two certificates' numbers stand.
sub counters_of
{
    my ($pid, @served) = @_;

    open my $mem, '+<:raw', "/proc/$pid/mem" or return;
    for (split /\n/, read_file("/proc/$pid/maps")) {
        my ($from) = /^([0-9a-f]+)-\S+ rw-s .*zero/ or next;
        my $at = unpack 'Q>', pack 'H16', substr '0' x 16 . $from, -16;

        sysseek $mem, $at + $counts_at, 0;
        sysread $mem, my $bytes, 32 or next;
        my @words = unpack 'Q4', $bytes;
        return ($mem, $at) if join(' ', sort @words[0, 2]) eq "@served";
    }
    return;
}

# A child's memory, and where it may write.
sub taken_over
{
    my ($httpd) = @_;
    my ($child) = $httpd->children;
    my (@numbers, @found);

    handshake($httpd, name => 'one.test') for 1 .. 3;
    wait_for(sub {
        my $certs = Staple::Status->new($httpd)->json->{certificates};
        @numbers = sort map { $_->{numbers}{served} } @$certs;
        @found = counters_of($child, @numbers);
    }, 20);
    return @found;
}

# All that can be asked, in every place, so many times.
sub scribble
{
    my ($mem, $at, $times) = @_;

    my $bytes = pack 'Q*', map { ($_ % 2) << 32 | $forget | $force | $all }
                               1 .. $requests;

    for (1 .. $times) {
        sysseek $mem, $at, 0;
        syswrite $mem, $bytes;
    }
}

# Without StapleStatusActions.
my $httpd = server();
my ($mem, $at) = taken_over($httpd);
ok($mem, 'the memory that children may write is found')
    or die "no counters\n";
$responder->tell('refuse');
scribble($mem, $at, 1);
ok($httpd->wait_for_refresher, 'there is a refresher');
my $ctl = Staple::Work::build_dir() . '/staplectl/staplectl';
# What the file's owner asks is heard, after that.
run($ctl, 'refresh', '--ring', $httpd->dir . '/logs/stapling_cache', '--wait',
    '60s', 'one.test');
ok($httpd->wait_for_log(qr/STP0203: one\.test/), "the file's owner is heard");
is(handshake($httpd, name => $_->{name})->{staple}, 'good',
   "$_->{name}: ... a child is not") for @leaves;
sysseek $mem, $at, 0;
syswrite $mem, "\xff" x ($counts_at + 32);
is(Staple::Status->new($httpd)->ask('json')->{status}, 200,
   'whatever stands there, there is a page');
is(handshake($httpd, name => 'must.test')->{staple}, 'good', '... and a staple');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP020|STP030/);

# With it: a child is heard, and no more often than others.
$responder->good;
$responder->tell('listen');
$httpd = server('StapleStatusActions on');
($mem, $at) = taken_over($httpd);
my $refresher = $httpd->wait_for_refresher;
my $scribbler = fork // die "fork: $!\n";
if (!$scribbler) {
    scribble($mem, $at, 50_000_000);
    POSIX::_exit(0);
}
$responder->tell('reset-counters');
ok(wait_for(sub { $responder->count >= 20 }, 60),
   'with StapleStatusActions on it is heard, and responders are asked');
is($httpd->refresher, $refresher, '... by the same refresher all the time');
kill 'KILL', $scribbler;
waitpid $scribbler, 0;
is(wait_for_staple($httpd, 'good', name => $_->{name})->{staple}, 'good',
   "$_->{name}: stapled when it is over") for @leaves;
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP020|STP030/);

done_testing;
