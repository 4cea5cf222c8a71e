# Licensed under the Apache License, Version 2.0; see LICENSE.

# A good response is never lost to a lie: each fault of the responder, told
# about one certificate among many after its first good response, leaves that
# response in service, byte for byte; once healed, newer ones follow.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $number = 0;
my @faults = (Staple::Responder->faults, 'healthy');
my %leaf = map { $_ => $ca->leaf(name => 'fault' . ++$number . '.test',
                                 ocsp => $responder->url) } @faults;

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingResponderTimeout 1',
                       'SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $leaf{$_} } } @faults]);
$httpd->start;

sub staple_of
{
    my ($fault, $wanted) = @_;

    return wait_for_staple($httpd, $wanted, name => $leaf{$fault}{name});
}

my @stapled = grep { staple_of($_, 'good')->{staple} eq 'good' } @faults;
is(scalar @stapled, scalar @faults, 'all are stapled at first');

$responder->tell($_, $leaf{$_}) for grep { $_ ne 'healthy' } @faults;
$responder->tell('reset-counters');
# By the fifth request about a certificate, whatever the way of asking, what
# came before was judged.
my %served = map { $_ => staple_of($_, 'good')->{der} } @faults;
for my $fault (grep { $_ ne 'healthy' } @faults) {
    ok(wait_for(sub { $responder->count($leaf{$fault}) >= 5 }, 120),
       "$fault: was answered often enough");
    my $got = handshake($httpd, name => $leaf{$fault}{name});
    is($got->{staple}, 'good', "$fault: the good response stays");
    ok($got->{der} && $served{$fault} && $got->{der} eq $served{$fault},
       '... byte for byte');
}
ok(wait_for(sub {
       my $got = handshake($httpd, name => $leaf{healthy}{name});
       $got->{staple} eq 'good' && $got->{der} ne $served{healthy};
   }), 'healthy: was refreshed meanwhile');

$responder->tell('clear', $leaf{$_}) for @faults;
for my $fault (@faults) {
    ok(wait_for(sub {
           my $got = handshake($httpd, name => $leaf{$fault}{name});
           $got->{staple} eq 'good' && $got->{der} ne $served{$fault};
       }, 30), "$fault: a newer response once it is healed");
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/);

done_testing;
