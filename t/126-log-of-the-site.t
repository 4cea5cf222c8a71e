# Licensed under the Apache License, Version 2.0; see LICENSE.

# What is said of a certificate goes to the error log of its first virtual host,
# as with mod_ssl, and what is said of the server to the main one; and a name in a
# certificate cannot forge members of a log that is written as JSON.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use JSON::PP ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $one = $ca->leaf(name => 'one.test', ocsp => $responder->url);
my $two = $ca->leaf(name => 'two.test', ocsp => $responder->url);
my $evil = $ca->_issue(
    file => 'evil', subject => '/CN=evil.test',
    key => $ca->_key('leaf-ec-key', 'ec'),
    ext => "basicConstraints=CA:FALSE\ntlsfeature=status_request\n"
        . "subjectAltName=\@alt\n[alt]\n"
        . 'DNS.1=evil\",\"level\":\"forged' . "\n",
    issuer => $ca->{intermediate});
$evil->{conf} = "SSLCertificateFile $evil->{cert}\n"
    . "SSLCertificateKeyFile $evil->{key}\n"
    . "SSLCertificateChainFile $ca->{intermediate}{cert}\n";
my $json = '{\"level\": \"%l\", \"module\": \"%m\", \"message\": \"%M\"}';
my $httpd = Staple::Httpd->new(
    conf   => "ErrorLogFormat \"$json\"\n" . stapling(),
    vhosts => [
        { cert => $one, conf => "ErrorLog {dir}/logs/one_log" },
        { cert => $two },
        { cert => $evil, name => 'evil.test',
          conf => "ErrorLog {dir}/logs/evil_log" },
    ]);

sub log_of { return read_file($httpd->dir . "/logs/$_[0]_log") }

$responder->tell('http 500', $one);
$responder->tell('revoked', $two);
$httpd->start;
ok(wait_for(sub { log_of('one') =~ /STP0203: one\.test/ }),
   'a failure of one site is in its log');
ok(wait_for(sub { log_of('error') =~ /STP0202: two\.test/ }),
   'of a site without a log of its own, in the main one');
ok(wait_for(sub { log_of('evil') =~ /STP0117: evil/ }),
   'what the start has to say of a certificate, too');
like(log_of('error'), qr/STP0101: /, "the server's own lines are in the main one");
unlike(log_of('error'), qr/STP0203|STP0117/, '... and nothing of the others');
unlike(log_of('one') . log_of('evil'), qr/STP0101|STP0202/,
       'sites have nothing but their own');

my @lines = grep { /STP\d{4}/ } map { split /\n/, log_of($_) }
            qw(error one evil);
my @broken = grep {
    my $line = eval { JSON::PP::decode_json($_) };
    !$line || join(' ', sort keys %$line) ne 'level message module'
        || $line->{level} eq 'forged'
} @lines;
cmp_ok(scalar @lines, '>', 3, 'there are lines of ours');
is_deeply(\@broken, [], '... each of them is JSON, with its own members');
like(log_of('evil'), qr/STP0117: evil%22,%22level%22:%22forged/,
     '... and a name is still told');
ok($httpd->stop, 'httpd stops in good order');

done_testing;
