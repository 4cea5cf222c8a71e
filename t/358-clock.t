# Licensed under the Apache License, Version 2.0; see LICENSE.

# The wall clock is set while the server runs, days ahead and back, and it
# starts with a wrong one: what is out of date by the new time is not served,
# the responder is asked at once and without a flood, and when clock and
# responder agree again there is a staple. libfaketime moves the clock of
# httpd alone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use constant DAY => 86400;

my ($faketime) = grep { -e }
    map { ("$_/libfaketimeMT.so.1", "$_/libfaketime.so.1") }
    map { glob "$_/faketime" } qw(/usr/lib/* /usr/lib64 /usr/lib);
plan skip_all => 'no libfaketime (Debian: libfaketime)' if !$faketime;
plan skip_all => 'a runtime of sanitizers and libfaketime do not mix'
    if $ENV{STAPLE_PRELOAD};

my $ca = Staple::CA->new;
my ($responder, $other) = map { Staple::Responder->new($ca) } 1 .. 2;
my $leaf = $ca->leaf(ocsp => $responder->url);
my $often = $ca->leaf(name => 'often.test', ocsp => $other->url);
my $clock = work_dir() . '/clock';

# Move the clock of httpd so many days away from ours.
sub set_clock
{
    my ($days) = @_;

    write_file("$clock.new", sprintf "%+dd\n", $days);
    rename "$clock.new", $clock or die "cannot rename to $clock: $!\n";
}

# Have the responder live so many days away from our time.
sub move_responder
{
    my ($days) = @_;

    $responder->tell(sprintf 'validity %d %d', $days * DAY - 60,
                     $days * DAY + 4 * DAY);
}

# How often httpd has said that its clock was set.
sub jumps { return scalar(() = $_[0]->error_log =~ /STP0208/g) }

$ENV{STAPLE_PRELOAD} = $faketime;
$ENV{FAKETIME_TIMESTAMP_FILE} = $clock;
$ENV{FAKETIME_NO_CACHE} = 1;
$ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
$ENV{DONT_FAKE_MONOTONIC} = 1;

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf },
               { cert => $often, conf => 'SSLStaplingStandardCacheTimeout 1' }]);

sub settled
{
    my ($wanted, $what) = @_;

    is(wait_for_staple($httpd, $wanted)->{staple}, $wanted, $what);
}

# While it fails, an attempt begins 0.8 s after the end of the one before, or
# later; each of these asks one question.
sub is_no_flood
{
    my ($what) = @_;
    my $before = $responder->count;

    ok(wait_for(sub { $responder->count >= $before + 4 }, 30),
       "$what: asked again and again");
    my @times = map { $_->{time} } $responder->log;
    my @gaps = map { $times[$_] - $times[$_ - 1] } $before + 1 .. $#times;
    is(scalar(grep { $_ < 0.75 } @gaps), 0, '... after a pause each time')
        or diag("@gaps");
}

# It is asked nothing while the other certificate is asked for three times.
sub is_left_alone
{
    my ($what) = @_;
    my ($before, $others) = ($responder->count, $other->count);

    ok(wait_for(sub { $other->count >= $others + 3 }, 30),
       "$what: another certificate is asked for");
    is($responder->count, $before, '... and this one is not');
}

# --- a wrong clock from the start ---

set_clock(-1000);
$httpd->start;
is(handshake($httpd)->{staple}, 'none',
   'three years ago nothing is valid yet');
is_no_flood('a failing responder');
set_clock(0);
settled('good', 'the clock is set: stapled');
is(jumps($httpd), 1, 'and one notice says so');
is_left_alone('set right');

# --- ahead, past nextUpdate ---

set_clock(5);
settled('none', '5 days ahead: the response has ended');
is_no_flood('a responder that has nothing for that time');
move_responder(5);
settled('good', 'it lives in that time too: stapled');
is_left_alone('ahead');

# --- and back ---

set_clock(0);
settled('none', 'back: what is held is from the future');
move_responder(0);
settled('good', 'the responder comes along: stapled');
is_left_alone('back');

# --- a small one, within the validity ---

my $held = handshake($httpd)->{der};
my $told = jumps($httpd);
set_clock(1);
ok(wait_for(sub { jumps($httpd) > $told }), 'a day ahead');
is_left_alone('within the validity');
is(handshake($httpd)->{der}, $held, 'and the response stays');

set_clock(0);
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
