# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleRevokedRecheck: a responder is asked again an hour after it said
# revoked, not sooner and, but for that, not before the middle of the response's
# validity; so the end of a hold is stapled soon. libfaketime moves the clock of
# httpd alone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Clock;

plan skip_all => Staple::Clock->lacking if Staple::Clock->lacking;

my $clock = Staple::Clock->new;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = qw(good hourly off);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    @names;

# Move the clock of httpd so many minutes away from ours.
sub set_clock { $clock->set($_[0] * 60) }

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $leaf{$_},
                       conf => $_ eq 'off' ? 'StapleRevokedRecheck off' : '' } }
               @names]);

# How often its responder was asked about each.
sub asked { return join ' ', map { $responder->count($leaf{$_}) } @names }

# Wait until the refresher has seen its clock set.
sub wait_for_jump
{
    my ($count) = @_;

    return wait_for(sub { (() = $httpd->error_log =~ /STP0208/g) >= $count });
}

set_clock(0);
$responder->tell('revoked 3600 6', $leaf{$_}) for qw(hourly off);
$httpd->start;
wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => "$_.test") for qw(hourly off);
is(asked(), '1 1 1', 'each was asked for once');

set_clock(30);
ok(wait_for_jump(1), 'half an hour later');
set_clock(61);
ok(wait_for_jump(2), 'an hour later');
ok(wait_for(sub { $responder->count($leaf{hourly}) == 2 }),
   'the one that is to be rechecked is asked for again');
is(asked(), '1 2 1', '... that time, and no other one');
is(handshake($httpd, name => 'hourly.test')->{staple}, 'revoked',
   '... and goes on being revoked');

# The CA lifts the hold; its newest response is of that time.
$responder->tell('good', $leaf{hourly});
$responder->tell('validity 3600 345600');
set_clock(123);
ok(wait_for_jump(3), 'two hours later');
is(wait_for_staple($httpd, 'good', name => 'hourly.test')->{staple}, 'good',
   'the hold is lifted, and good is stapled');
is(asked(), '1 3 1', '... after one more question');
is(handshake($httpd, name => 'off.test')->{staple}, 'revoked',
   'off: it is stapled until the middle of its validity');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0202/);

done_testing;
