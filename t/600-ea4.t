# Licensed under the Apache License, Version 2.0; see LICENSE.

# A cPanel host with EasyApache 4: forty accounts on one address, told apart by
# SNI, the stapling block that cPanel ships, and the include files of
# docs/examples/cpanel-ea4. Every account is stapled but the one that its
# userdata switches off; with the last of our files away, all is as before.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Tree;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %account = (exampleuser => 'example.com',
               map { (sprintf('user%02d', $_) => sprintf('site%02d.test', $_)) }
                   1 .. 39);
my %leaf = map { $_ => $ca->leaf(name => $_, alt => ["www.$_"],
                                 ocsp => $responder->url) } values %account;

my $httpd = Staple::Httpd->new(
    staple => 0, modules => [qw(authz_host authz_user authn_core authn_file auth_basic)],
    conf => 'Include {dir}/etc/apache2/conf/httpd.conf');
my $tree = Staple::Tree->new($httpd, 'cpanel-ea4', '/run/apache2',
                             '/var/cache/mod_staple', '/var/cpanel/ssl');

# As cPanel writes it: what applies to more sites is included first.
sub virtual_host
{
    my ($user, $domain) = @_;
    my $userdata = '/etc/apache2/conf.d/userdata';
    my $combined = $tree->add(
        "var/cpanel/ssl/apache_tls/$domain/combined",
        join '', map { read_file($leaf{$domain}{$_}) } qw(key chain));

    return <<"CONF";
<VirtualHost 127.0.0.1:@{[ $httpd->port ]}>
  ServerName $domain
  ServerAlias mail.$domain www.$domain
  ServerAdmin webmaster\@$domain
  UseCanonicalName Off
  <IfModule ssl_module>
    SSLEngine on
    SSLCertificateFile $combined
  </IfModule>
  IncludeOptional "$userdata/*.conf"
  IncludeOptional "$userdata/ssl/*.conf"
  IncludeOptional "$userdata/ssl/2_4/*.conf"
  IncludeOptional "$userdata/ssl/2_4/$user/*.conf"
  IncludeOptional "$userdata/ssl/2_4/$user/$domain/*.conf"
</VirtualHost>
CONF
}

my $includes = '/etc/apache2/conf.d/includes';
$tree->add('etc/apache2/conf/httpd.conf', <<"CONF"
IncludeOptional "$includes/pre_main_global.conf"
IncludeOptional "/etc/apache2/conf.modules.d/*.conf"
LogLevel info
<IfModule staple_module>
    LogLevel staple:debug
</IfModule>
<IfModule ssl_module>
  <IfModule socache_shmcb_module>
    SSLUseStapling On
    SSLStaplingCache shmcb:/run/apache2/stapling_cache_shmcb(256000)
    # Prevent browsers from failing if an OCSP server is temporarily broken.
    SSLStaplingReturnResponderErrors off
    SSLStaplingErrorCacheTimeout 60
    SSLStaplingFakeTryLater off
    SSLStaplingResponderTimeout 3
  </IfModule>
</IfModule>
IncludeOptional "$includes/pre_virtualhost_global.conf"
CONF
    . join '', map { virtual_host($_, $account{$_}) } sort keys %account);

# Before the test's responder: it is on the loopback address.
my $load = $httpd->dir . '/etc/apache2/conf.modules.d/490_mod_staple.conf';
my $text = read_file($load);
like($text, qr/^StapleDenyResponder loopback private$/m,
     'what the package ships denies the inner network');
$text =~ s/loopback private/private/;
write_file($load, $text);

my ($exit, $said) = $httpd->configtest;
is($exit, 0, 'httpd -t is content') or diag $said;
$httpd->start;

my @wrong;
for my $domain (sort keys %leaf) {
    my $off = $domain eq 'example.com';
    my $got = $off ? handshake($httpd, name => $domain)
                   : wait_for_staple($httpd, 'good', name => $domain);

    push @wrong, "$domain: $got->{staple}"
        if $got->{staple} ne ($off ? 'none' : 'good')
           || !$off && $got->{serial} ne $leaf{$domain}{serial};
}
is_deeply(\@wrong, [], 'all are stapled but the one switched off');
is($responder->count($leaf{'example.com'}), 0, 'nobody was asked about that');
is($responder->count, 39, 'and once about each of the others');
ok(-s $httpd->dir . '/var/cache/mod_staple/ring', 'the ring is at its place');
ok(!-e $httpd->dir . '/run/apache2/stapling_cache_shmcb',
   'and not at the one that is shipped');

# Undone for the account: ensure_vhost_includes and a graceful restart.
unlink glob $httpd->dir . '/etc/apache2/conf.d/userdata/ssl/2_4/*/*/*.conf';
$httpd->graceful;
is(wait_for_staple($httpd, 'good', name => 'example.com')->{staple}, 'good',
   'without its file that account is stapled too');
is($responder->count, 40, 'and for that, one more was asked');
ok($httpd->stop, 'httpd stops in good order');

# The shipped block alone, and our LoadModule line.
unlink $httpd->dir . "$includes/pre_virtualhost_global.conf";
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'site07.test')->{staple}, 'good',
   'the block that EasyApache ships and the LoadModule line are enough');
ok(-s $httpd->dir . '/run/apache2/stapling_cache_shmcb',
   'and the ring is where the block says');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

# Undone altogether: mod_ssl's own.
unlink $httpd->dir . '/etc/apache2/conf.modules.d/490_mod_staple.conf';
($exit, $said) = $httpd->configtest;
is($exit, 0, 'without the LoadModule line the rest stands') or diag $said;

done_testing;
