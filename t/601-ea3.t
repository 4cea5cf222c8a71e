# Licensed under the Apache License, Version 2.0; see LICENSE.

# The layout of EasyApache 3, as it lives on in guides and on hosts that keep an
# httpd of their own in it: no block is shipped, everything is in
# pre_main_global.conf, which is read before any module, and userdata/ssl/2
# switches one site off.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Tree;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %account = (exampleuser => 'example.com', user01 => 'site01.test',
               user02 => 'site02.test');
my %leaf = map { $_ => $ca->leaf(name => $_, ocsp => $responder->url) }
    values %account;

my $httpd = Staple::Httpd->new(
    staple => 0,
    conf => 'Include {dir}/usr/local/apache/conf/httpd.conf');
my $tree = Staple::Tree->new($httpd, 'cpanel-ea3', '/usr/local/apache/logs');

sub virtual_host
{
    my ($user, $domain) = @_;
    my $userdata = '/usr/local/apache/conf/userdata';

    return <<"CONF";
<VirtualHost 127.0.0.1:@{[ $httpd->port ]}>
  ServerName $domain
  SSLEngine on
  SSLCertificateFile $leaf{$domain}{cert}
  SSLCertificateKeyFile $leaf{$domain}{key}
  SSLCertificateChainFile $leaf{$domain}{issuer}
  IncludeOptional "$userdata/*.conf"
  IncludeOptional "$userdata/ssl/*.conf"
  IncludeOptional "$userdata/ssl/2/*.conf"
  IncludeOptional "$userdata/ssl/2/$user/*.conf"
  IncludeOptional "$userdata/ssl/2/$user/$domain/*.conf"
</VirtualHost>
CONF
}

my $includes = '/usr/local/apache/conf/includes';
$tree->add('usr/local/apache/conf/httpd.conf',
    "Include \"$includes/pre_main_global.conf\"\n"
    . "LogLevel info staple:debug\n"
    . join '', map { virtual_host($_, $account{$_}) } sort keys %account);
my $main = $httpd->dir . "$includes/pre_main_global.conf";
my $text = read_file($main);
$text =~ s/loopback private/private/;
write_file($main, $text);

my ($exit, $said) = $httpd->configtest;
is($exit, 0, 'httpd -t is content') or diag $said;
$httpd->start;
for my $domain (qw(site01.test site02.test)) {
    my $got = wait_for_staple($httpd, 'good', name => $domain);
    is($got->{staple}, 'good', "$domain: stapled");
    is($got->{serial}, $leaf{$domain}{serial}, "$domain: with its own");
}
is(handshake($httpd, name => 'example.com')->{staple}, 'none',
   'the account that is switched off is not');
is($responder->count($leaf{'example.com'}), 0, 'and nobody was asked');
ok(-s $httpd->dir . '/usr/local/apache/logs/stapling_cache',
   'the ring is where the include says');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
