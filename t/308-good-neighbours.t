# Licensed under the Apache License, Version 2.0; see LICENSE.

# A healthy responder does not wait for its neighbours: 60 certificates before
# it in the configuration have responders whose names hang, or that drip; it is
# stapled, and asked again twice when what is held is due, before any of them has
# even failed; and a handshake with one of these waits for nothing.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Names::missing();

plan skip_all => $missing if $missing;

my @numbers = 1 .. 60;
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca, {
    bind => ['127.0.0.1', map { "127.0.1.$_" } @numbers] });
my @ill = map { $ca->leaf(name => "ill$_.test",
                          ocsp => $responder->url('/', "n$_.test")) }
          @numbers;
my $well = $ca->leaf(name => 'well.test', ocsp => $responder->url);

sub stapled_beside
{
    my ($what, $names) = @_;
    my $httpd = Staple::Httpd->new(
        names  => $names,
        conf   => stapling('SSLStaplingResponderTimeout 60', 'StapleWarmup 0',
                           'SSLStaplingStandardCacheTimeout 1'),
        vhosts => [map { { cert => $_ } } @ill, $well]);

    $responder->tell('reset-counters');
    $httpd->start;
    ok($httpd->wait_for_log(qr/STP0204: well\.test/, 60),
       "$what: the neighbour has its response");
    my ($before) = $httpd->error_log =~ /^(.*?)STP0204: well\.test/s;

    unlike($before, qr/STP0203/, '... before any of the others has failed');
    my $got = handshake($httpd, name => 'ill1.test');
    ok($got->{ok} && $got->{staple} eq 'none',
       '... a handshake with one of these goes on without a staple');
    ok(wait_for(sub { $responder->count($well) >= 3 }, 50),
       '... which is renewed when it is due');
    unlike($httpd->error_log, qr/STP0203/, '... and still none has failed');
    ok($httpd->stop, '... httpd stops in good order');
    $httpd->log_ok(qr/STP0203/);
}

stapled_beside('names that hang',
               Staple::Names->new(map { ("n$_.test" => 'hang') } @numbers));
$responder->tell('drip 900', $_) for @ill;
stapled_beside('responders that drip',
               Staple::Names->new(map { ("n$_.test" => "127.0.1.$_") }
                                  @numbers));
done_testing;
